import pytest
from django.contrib.auth.validators import UnicodeUsernameValidator
from hypothesis import given
from hypothesis import strategies as st

from apps.accounts.claims import read, username_from
from apps.core.errors import NotAllowed

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text())
def test_username_is_always_one_that_django_takes(wanted: str) -> None:
    name = username_from(wanted)
    UnicodeUsernameValidator()(name)
    assert 1 <= len(name) <= 150


@given(
    st.fixed_dictionaries(
        {"sub": st.text(), "groups": st.lists(st.text())},
        optional=dict.fromkeys(
            ("name", "given_name", "family_name", "preferred_username", "email", "zoneinfo"), anything
        ),
    )
)
def test_read_when_claims_are_odd_gives_a_person_or_a_sentence(claims: dict[str, object]) -> None:
    subject = claims["sub"]
    assert isinstance(subject, str)
    if not subject or not subject.isprintable() or len(subject) > 255:
        with pytest.raises(NotAllowed, match="did not say who you are"):
            read(claims, issuer="https://idp", groups_claim="groups")
        return
    vouched = read(claims, issuer="https://idp", groups_claim="groups")
    for text in (vouched.subject, vouched.first_name, vouched.last_name, vouched.email, *vouched.groups):
        assert text.isprintable()
        text.encode()
    assert len(vouched.first_name) <= 150 >= len(vouched.last_name)
    assert len(vouched.email) <= 254


@given(anything)
def test_read_when_groups_are_no_list_of_names_is_refused(groups: object) -> None:
    if isinstance(groups, list) and all(isinstance(group, str) for group in groups):
        return
    with pytest.raises(NotAllowed):
        read({"sub": "x", "groups": groups}, issuer="https://idp", groups_claim="groups")


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Alice Anne Archer"}, ("Alice", "Anne Archer")),
        ({"given_name": "Alice", "family_name": "Archer", "name": "A. A."}, ("Alice", "Archer")),
        ({"name": "Alice"}, ("Alice", "")),
        ({"name": "  Al\tice \n Archer "}, ("Al", "ice Archer")),
        ({"name": 7}, ("", "")),
    ],
)
def test_read_names(claims: dict[str, object], name: tuple[str, str]) -> None:
    vouched = read(claims | {"sub": "x", "groups": []}, issuer="https://idp", groups_claim="groups")
    assert (vouched.first_name, vouched.last_name) == name


def test_read_when_there_is_no_username_takes_the_address() -> None:
    said = {"sub": "x", "groups": [], "email": "a.archer@shop.example"}
    assert read(said, issuer="https://idp", groups_claim="groups").username == "a.archer"
    assert read({"sub": "x", "groups": []}, issuer="https://idp", groups_claim="groups").username == "person"
