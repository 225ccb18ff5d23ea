"""People as the verbs make them, and what the record told of them."""

from collections.abc import Callable

from django.test import Client

from apps.accounts import services
from apps.accounts.models import Duty, User
from apps.audit import services as audit
from apps.audit.trail import Line

Told = Callable[..., list[Line]]


def make_groups() -> None:
    """Two teams and the three duties; the claim of `storefront` is `claim-storefront`."""
    for name in ("storefront", "billing"):
        services.save_group(actor="operator", name=name, claim=f"claim-{name}", is_team=True, duty=None)
    for duty in Duty:
        services.save_group(actor="operator", name=duty, claim=f"claim-{duty}", is_team=False, duty=duty)


def known(username: str, *claims: str) -> User:
    """Somebody of the cast, provisioned."""
    return services.provision(
        issuer="https://idp.example.org",
        subject=f"sub-{username}",
        username=username,
        name=username.capitalize(),
        email=f"{username}@shop.example",
        groups=list(claims),
    )


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, "apps.accounts.backends.SsoBackend")
    return client


def listening() -> Told:
    """Entries of the record from now on, oldest first: told("account."), told("token.created")."""
    before = audit.head().size - 1

    def told(action: str = "") -> list[Line]:
        found = audit.entries(after=before, limit=100, where=audit.Filter(action=action))
        assert not [line.problem for line in found if line.problem]
        return found

    return told
