from apps.core import sealed
from jitportal.new_keys import lines


def test_new_keys_work_together_when_put_into_an_environment() -> None:
    keys = dict(line.split("=", 1) for line in lines())
    box = sealed.seal("s", public_key=keys["JITPORTAL_MANAGER_PUBLIC_KEY"], bound_to="a")
    assert sealed.unseal(box, private_key=keys["JITPORTAL_MANAGER_PRIVATE_KEY"], bound_to="a") == "s"
    assert len(keys["JITPORTAL_SECRET_KEY"]) >= 50
    ring = [keys["JITPORTAL_GRANT_PASSWORD_RING"]]
    assert sealed.decrypt(sealed.encrypt("p", ring=ring, bound_to="g"), ring=ring, bound_to="g") == "p"
