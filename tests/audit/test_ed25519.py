"""The verifier's own Ed25519, beside a library that signs, and against what loose ones have accepted."""

from hashlib import sha512

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from apps.audit.offline import verify
from apps.audit.offline.verify import is_signed

ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
MESSAGE = b"a checkpoint\n"
SIGNATURE = PRIVATE.sign(MESSAGE)

# RFC 8032, 7.1: secret key, public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
]
# Points whose eighth multiple is nothing: a key of them "signs" everything for whoever multiplies by eight.
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_is_signed_when_it_is_a_vector_of_the_rfc_says_yes(public: str, message: str, signature: str) -> None:
    assert is_signed(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))
    assert not is_signed(bytes.fromhex(public), bytes.fromhex(message) + b"x", bytes.fromhex(signature))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_is_signed_when_the_library_has_signed_says_yes(seed: bytes, message: bytes) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    assert is_signed(private.public_key().public_bytes_raw(), message, private.sign(message))


@pytest.mark.parametrize("bit", range(0, 512, 7))
def test_is_signed_when_a_bit_of_the_signature_is_another_says_no(bit: int) -> None:
    changed = (int.from_bytes(SIGNATURE, "little") ^ 1 << bit).to_bytes(64, "little")
    assert not is_signed(PUBLIC, MESSAGE, changed)


@pytest.mark.parametrize("bit", range(0, 256, 5))
def test_is_signed_when_a_bit_of_the_key_is_another_says_no(bit: int) -> None:
    changed = (int.from_bytes(PUBLIC, "little") ^ 1 << bit).to_bytes(32, "little")
    assert not is_signed(changed, MESSAGE, SIGNATURE)


def test_is_signed_when_s_is_not_reduced_says_no() -> None:
    """The same equation holds for S + L: there would be two signatures of one text."""
    s = int.from_bytes(SIGNATURE[32:], "little")
    assert not is_signed(PUBLIC, MESSAGE, SIGNATURE[:32] + (s + ORDER).to_bytes(32, "little"))


@pytest.mark.parametrize("small", SMALL)
def test_is_signed_when_the_key_is_of_small_order_says_no(small: str) -> None:
    """R = S = 0 would do for such a key, whatever the text."""
    for r in SMALL:
        assert not is_signed(bytes.fromhex(small), MESSAGE, bytes.fromhex(r) + bytes(32))


@pytest.mark.parametrize("small", SMALL)
def test_is_signed_when_a_small_point_is_added_to_the_key_says_no(small: str) -> None:
    """Whoever multiplies by eight does not notice; we do not multiply."""
    point, added = verify._point(PUBLIC), verify._point(bytes.fromhex(small))
    assert point is not None
    assert added is not None
    mixed = verify._encoded(verify._added(point, added))
    assert is_signed(mixed, MESSAGE, SIGNATURE) == (mixed == PUBLIC)


@pytest.mark.parametrize(
    "encoded",
    [
        (PRIME + 1).to_bytes(32, "little"),  # 1 in another form
        (PRIME).to_bytes(32, "little"),
        (1 | 1 << 255).to_bytes(32, "little"),  # x = 0 with a sign
        (PRIME - 1 | 1 << 255).to_bytes(32, "little"),
        (2).to_bytes(32, "little"),  # not on the curve
        b"\xff" * 32,
    ],
)
def test_point_when_not_in_its_one_form_is_none(encoded: bytes) -> None:
    assert verify._point(encoded) is None
    assert not is_signed(encoded, MESSAGE, SIGNATURE)


def test_point_when_the_largest_y_is_read() -> None:
    """p − 1 belongs to a point (of order two); p does not."""
    assert verify._point((PRIME - 1).to_bytes(32, "little")) is not None


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_is_signed_when_lengths_are_wrong_says_no(length: int) -> None:
    padded = bytes(length)
    assert not is_signed(PUBLIC, MESSAGE, (SIGNATURE + padded)[:length])
    assert not is_signed((PUBLIC + padded)[:length], MESSAGE, SIGNATURE)


def test_is_signed_when_r_is_in_another_form_says_no() -> None:
    """A forger who has the key may choose R = 1, in the form of p + 1."""
    a = int.from_bytes(sha512(bytes(range(32))).digest()[:32], "little")
    a = a & (2**254 - 8) | 2**254
    for r, is_one_form in (((1).to_bytes(32, "little"), True), ((PRIME + 1).to_bytes(32, "little"), False)):
        k = int.from_bytes(sha512(r + PUBLIC + MESSAGE).digest(), "little") % ORDER
        assert is_signed(PUBLIC, MESSAGE, r + (k * a % ORDER).to_bytes(32, "little")) == is_one_form
