"""What the identity provider says about a person, read with distrust. Pure but for the list of time zones."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from apps.core.errors import NotAllowed

_LONGEST_NAME: Final = 150
_LONGEST_SUBJECT: Final = 255
_NO_NAME: Final = "person"  # for somebody whose name is all symbols
_NOT_IN_A_USERNAME: Final = re.compile(r"[^\w.@+-]+")


@dataclass(frozen=True, kw_only=True)
class Vouched:
    """A person as single sign-on vouches for them. Identity is (issuer, subject); everything else may change."""

    issuer: str
    subject: str
    username: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    time_zone: str = "UTC"
    groups: frozenset[str] = frozenset()


def read(claims: Mapping[str, object], *, issuer: str, groups_claim: str) -> Vouched:
    """From verified claims. Raises NotAllowed where the person cannot be told, or their groups cannot."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise NotAllowed("Single sign-on did not say who you are (the claim ‘sub’). Tell whoever runs it.")
    first, last = _names(claims)
    email = _email(claims.get("email"))
    return Vouched(
        issuer=issuer,
        subject=subject,
        username=username_from(_text(claims.get("preferred_username")) or email.partition("@")[0]),
        first_name=first,
        last_name=last,
        email=email,
        time_zone=_time_zone(claims.get("zoneinfo")),
        groups=_groups(claims, groups_claim),
    )


def username_from(wanted: str) -> str:
    """The nearest username that Django's own validator takes."""
    plain = unicodedata.normalize("NFKC", wanted)
    return _NOT_IN_A_USERNAME.sub("-", plain).strip("-")[:_LONGEST_NAME] or _NO_NAME


def split_name(name: str) -> tuple[str, str]:
    """(first, last) of a whole name."""
    first, _, last = _text(name).partition(" ")
    return first, last.strip()


def _groups(claims: Mapping[str, object], name: str) -> frozenset[str]:
    """An absent claim is a mistake at the provider, and must not end every grant there is (field notes S12)."""
    groups = claims.get(name)
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise NotAllowed(
            f"Single sign-on did not say which groups you are in (the claim ‘{name}’ must be a list of names). "
            "Nothing was changed. Tell whoever runs it; when the claim is back, sign in again."
        )
    return frozenset(group for group in groups if group.isprintable())


def _names(claims: Mapping[str, object]) -> tuple[str, str]:
    first, last = _text(claims.get("given_name")), _text(claims.get("family_name"))
    return (first, last) if first or last else split_name(_text(claims.get("name")))


def _email(value: object) -> str:
    email = _text(value, longest=254)
    try:
        validate_email(email)
    except ValidationError:
        return ""
    return email


def _time_zone(value: object) -> str:
    return value if isinstance(value, str) and value in available_timezones() else "UTC"


def _text(value: object, *, longest: int = _LONGEST_NAME) -> str:
    """One printable line of it; nothing where it is no text."""
    if not isinstance(value, str):
        return ""
    line = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(line.split())[:longest]
