import pytest

from apps.core import sealed


def test_unseal_gives_the_secret_back_when_key_and_owner_are_right() -> None:
    private, public = sealed.new_keypair()
    box = sealed.seal("s3cret", public_key=public, bound_to="a")
    assert sealed.unseal(box, private_key=private, bound_to="a") == "s3cret"


def test_unseal_refuses_when_the_secret_belongs_to_another() -> None:
    private, public = sealed.new_keypair()
    box = sealed.seal("s3cret", public_key=public, bound_to="server:a:host:1")
    with pytest.raises(sealed.CannotOpen):
        sealed.unseal(box, private_key=private, bound_to="server:a:other:1")
    with pytest.raises(sealed.CannotOpen):
        sealed.unseal(box, private_key=sealed.new_keypair()[0], bound_to="server:a:host:1")
    with pytest.raises(sealed.CannotOpen):
        sealed.unseal(box[:-1], private_key=private, bound_to="server:a:host:1")


def test_decrypt_works_when_the_ring_was_rotated() -> None:
    old, new = sealed.new_ring_key(), sealed.new_ring_key()
    box = sealed.encrypt("s3cret", ring=[old], bound_to="grant:a:jit_a")
    assert sealed.decrypt(box, ring=[new, old], bound_to="grant:a:jit_a") == "s3cret"
    with pytest.raises(sealed.CannotOpen):
        sealed.decrypt(box, ring=[new], bound_to="grant:a:jit_a")
    with pytest.raises(sealed.CannotOpen):
        sealed.decrypt(box, ring=[old], bound_to="grant:b:jit_b")
