"""Proving anew who one is, before what waits for nobody else's yes (field notes S12).

A sign-in may be hours old and its screen unlocked. A step-up is a round trip of its own to the identity provider, or
for the emergency administrator the password once more. What comes of it is a stamp in the session, of one person and
good for settings.STEP_UP_SECONDS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest

from apps.accounts.models import User
from apps.core import clock
from apps.core.errors import NotAllowed

STATE: Final = "step_up"  # what a round trip is for, kept with its state
LEEWAY: Final = timedelta(seconds=10)  # between the provider's clock and ours
_STAMP: Final = "stepped_up"


class StepUpNeeded(NotAllowed):
    """May well be allowed, once the person has proved anew who they are."""


@dataclass(frozen=True)
class RoundTrip:
    """Who set out to prove who they are, and when."""

    user: str
    since: datetime

    @classmethod
    def begun(cls, user: User) -> "RoundTrip":
        return cls(user.pk, clock.now())

    def to_json(self) -> dict[str, str]:
        return {"user": self.user, "since": self.since.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> "RoundTrip":
        return cls(value["user"], datetime.fromisoformat(value["since"]))

    def signed_in_at(self, signed: Mapping[str, Any], now: datetime) -> datetime:
        """When the provider says that they gave their proof. `signed`: claims of the ID token. Raises NotAllowed."""
        claim = signed.get("auth_time")
        if not isinstance(claim, int) or isinstance(claim, bool):
            raise NotAllowed(
                "Single sign-on did not say when you signed in (the claim ‘auth_time’), so this proves nothing new. "
                "Tell whoever runs it."
            )
        try:
            at = datetime.fromtimestamp(claim, UTC)
        except (ValueError, OverflowError, OSError):
            at = datetime.max.replace(tzinfo=UTC)
        if at < self.since - LEEWAY:
            raise NotAllowed(
                "Single sign-on sent you back without asking who you are: that sign-in is older than your question. "
                "Try again; if it stays like this, tell whoever runs it."
            )
        if at > now + LEEWAY:
            raise NotAllowed(
                "Single sign-on says that you signed in at a time that has not come yet: one of the clocks is wrong. "
                "Tell whoever runs it."
            )
        return min(at, now)  # the stamp lasts no longer for a clock that is ahead


def stamp(request: HttpRequest, user: User, at: datetime) -> None:
    request.session[_STAMP] = {"user": user.pk, "at": at.isoformat()}


def stepped_up_at(request: HttpRequest) -> datetime | None:
    """When this session's person last proved anew who they are, if that still counts."""
    found = request.session.get(_STAMP)
    if not isinstance(found, dict) or not isinstance(request.user, User) or found.get("user") != request.user.pk:
        return None
    at = datetime.fromisoformat(found["at"])
    return at if is_fresh(at, clock.now()) else None


def is_fresh(at: datetime | None, now: datetime) -> bool:
    return at is not None and -LEEWAY <= now - at <= timedelta(seconds=settings.STEP_UP_SECONDS)


def require_fresh(at: datetime | None, now: datetime) -> None:
    """Raise StepUpNeeded unless that proof still counts."""
    if not is_fresh(at, now):
        raise StepUpNeeded("This takes a new proof of who you are: sign in again in the portal, then go on.")
