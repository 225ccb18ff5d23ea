"""Verifiers are made here; the server must take them for what they are."""

import base64

import pytest

from apps.engines.base import Refused
from apps.engines.postgresql import scram
from tests.engines.conftest import Shop

# RFC 7677, section 3: user "user", password "pencil".
RFC_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
RFC_VERIFIER = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_verifier_when_compared_with_the_standard() -> None:
    assert scram.verifier("pencil", salt=RFC_SALT) == RFC_VERIFIER


def test_verifier_when_the_server_makes_one_itself(shop: Shop) -> None:
    """Made by the server from the same password and salt, it is the same text."""
    shop.run("CREATE ROLE jit_scram_aaaaaaaaaa PASSWORD 'p@ss''word'")
    made = shop.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'jit_scram_aaaaaaaaaa'")
    salt = base64.b64decode(made.split("$")[1].split(":")[1])
    assert scram.verifier("p@ss'word", salt=salt) == made
    assert scram.checked(made) == made


@pytest.mark.parametrize("password", ["", "with space", "ümlaut", "line\nbreak", "nul\0"])
def test_verifier_when_the_password_is_not_printable_ascii(password: str) -> None:
    with pytest.raises(Refused, match="printable ASCII"):
        scram.verifier(password)


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "plaintext",
        RFC_VERIFIER.lower(),
        RFC_VERIFIER + " ",
        RFC_VERIFIER + "\n",
        RFC_VERIFIER[:-1],
        RFC_VERIFIER.replace("4096", "1"),
        RFC_VERIFIER.replace("==$", "=$"),
        RFC_VERIFIER.replace("W22Z", "W2-_"),
        RFC_VERIFIER.replace("WG5d", "===="),
        RFC_VERIFIER + "'; DROP ROLE x; --",
        "md5" + "0" * 32,
    ],
)
def test_checked_when_malformed(malformed: str) -> None:
    with pytest.raises(Refused, match="malformed"):
        scram.checked(malformed)


def test_new_password_when_made_twice() -> None:
    first, second = scram.new_password(), scram.new_password()
    assert first != second
    assert len(first) == len(second) == 32
    assert scram.checked(scram.verifier(first))
