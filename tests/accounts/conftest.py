"""Imports of what needs loaded apps stand inside: pytest reads this file before Django is set up."""

from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from tests.support.identity import IdentityProvider

if TYPE_CHECKING:
    from apps.accounts.models import User
    from tests.support.people import Told
    from tests.support.sso import Forger, Newcomer


@pytest.fixture
def sso(settings: Settings, identity_provider: IdentityProvider) -> IdentityProvider:
    """The portal signs people in at the demo's identity provider."""
    identity_provider.use(settings)
    return identity_provider


@pytest.fixture
def newcomer(sso: IdentityProvider) -> "Newcomer":
    from tests.support.sso import Newcomer

    return Newcomer(sso).says(preferred_username="alice", name="Alice Archer", email="alice@shop.example", groups=[])


@pytest.fixture
def groups(transactional_db: None) -> None:
    from tests.support.people import make_groups

    make_groups()


@pytest.fixture
def dana(groups: None) -> "User":
    from tests.support.people import known

    return known("dana", "claim-dba")


@pytest.fixture
def alice(groups: None) -> "User":
    from tests.support.people import known

    return known("alice", "claim-storefront")


@pytest.fixture
def forger(monkeypatch: pytest.MonkeyPatch) -> "Forger":
    """In front of the identity provider, and honest until told otherwise."""
    from apps.accounts.adapters import SsoAdapter
    from tests.support.sso import Forger

    forger = Forger()
    monkeypatch.setattr(SsoAdapter, "get_requests_session", lambda self: forger.session())
    return forger


@pytest.fixture
def told(transactional_db: None) -> "Told":
    from tests.support.people import listening

    return listening()


@pytest.fixture(autouse=True)
def no_tries_counted() -> None:
    cache.clear()
