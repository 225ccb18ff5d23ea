"""Every verb against every state of a grant, by everybody: field notes E5, A4."""

from datetime import timedelta
from urllib.parse import unquote, urlsplit

import pytest

from apps.accounts.models import User
from apps.audit import services as audit
from apps.catalog.models import Server
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from tests.factories import Cast, fresh
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.stage import active, after, now_in, queued, told

pytestmark = pytest.mark.django_db(transaction=True)


def ended(grant: Grant) -> Grant:
    services.release(actor=grant.holder, grant_id=grant.pk)
    services.end_due(server_id=grant.server_id)
    return now_in(grant, GrantStatus.ENDED)


def test_credential_is_the_same_and_recorded_each_time_when_it_is_shown(people: Cast) -> None:
    grant = active(people.alice)

    first = services.credential(actor=people.alice, grant_id=grant.pk, address="192.0.2.1")
    second = services.credential(actor=people.alice, grant_id=grant.pk)

    assert first == second
    assert first.valid_until == grant.expires_at
    parts = urlsplit(first.url)
    assert (parts.username, unquote(parts.password or "")) == (grant.login, first.password)
    assert (parts.hostname, parts.port, parts.query) == (first.host, first.port, "sslmode=disable")
    assert told(grant).count("credential.shown") == 2
    shown = audit.entries(limit=1000, where=audit.Filter(subjects=(grant.audit_id,), action="credential."))
    assert shown[0].disclosed["address"] == "192.0.2.1"
    assert "192.0.2.1" not in shown[0].body.decode()


def test_credential_names_the_tls_mode_and_quotes_when_it_must(people: Cast) -> None:
    grant = active(people.alice)
    Server.objects.filter(pk=grant.server_id).update(tls=Server.TlsMode.VERIFY_FULL, host="2001:db8::1")
    type(people.staging).objects.filter(pk=people.staging.pk).update(datname="a/b ?é")

    url = urlsplit(services.credential(actor=people.alice, grant_id=grant.pk).url)

    assert (url.hostname, url.query) == ("2001:db8::1", "sslmode=verify-full")
    assert url.path == "/a%2Fb%20%3F%C3%A9"


@pytest.mark.parametrize("who", ["bob", "dana", "sam", "audrey"])
def test_credential_is_not_allowed_when_the_grant_is_anothers(people: Cast, who: str) -> None:
    grant = active(people.alice)
    actor: User = getattr(people, who)

    with pytest.raises((NotAllowed, NotFound)):
        services.credential(actor=fresh(actor), grant_id=grant.pk)

    assert "credential.shown" not in told(grant)
    (refused,) = audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="grant.refused"))
    assert (refused.actor, refused.facts["tried"]) == (actor.audit_id, "credential")
    assert refused.disclosed["person"] == actor.name


@pytest.mark.parametrize("verb", ["credential", "release", "revoke"])
@pytest.mark.parametrize("grant_id", [None, "nope", "", "nul\0", "' OR 1=1 --"])
def test_verbs_find_nothing_when_the_grant_is_not_visible(people: Cast, verb: str, grant_id: str | None) -> None:
    known = queued(people.alice)

    with pytest.raises(NotFound):
        call(verb, people.carol, known.pk if grant_id is None else grant_id)


def call(verb: str, actor: User, grant_id: str) -> object:
    if verb == "credential":
        return services.credential(actor=fresh(actor), grant_id=grant_id)
    if verb == "release":
        return services.release(actor=fresh(actor), grant_id=grant_id)
    return services.revoke(actor=fresh(actor), grant_id=grant_id, reason="incident")


def test_credential_is_not_allowed_when_the_grant_is_for_the_console(people: Cast) -> None:
    grant = active(people.alice, connection="console")

    with pytest.raises(NotAllowed, match="console"):
        services.credential(actor=people.alice, grant_id=grant.pk)


def test_credential_says_why_when_the_grant_cannot_be_made_yet(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, OddEngine(before_open=fails(LOST)))
    grant = queued(people.alice)
    services.issue(grant_id=grant.pk)

    with pytest.raises(Conflict, match="lost"):
        services.credential(actor=people.alice, grant_id=grant.pk)


@pytest.mark.parametrize("state", ["past its end", "ending", "ended"])
def test_credential_conflicts_when_the_grant_is_over(people: Cast, state: str) -> None:
    grant = active(people.alice, minutes=1)
    shift = timedelta(0)
    if state == "past its end":
        shift = after(grant)
    elif state == "ending":
        services.revoke(actor=people.dana, grant_id=grant.pk, reason="incident")
    else:
        ended(grant)

    with clock.shifted(shift), pytest.raises(Conflict, match="over"):
        services.credential(actor=people.alice, grant_id=grant.pk)


@pytest.mark.parametrize("state", ["ending", "ended"])
@pytest.mark.parametrize("verb", ["release", "revoke"])
def test_verbs_conflict_when_the_grant_is_over_already(people: Cast, state: str, verb: str) -> None:
    grant = active(people.alice)
    if state == "ending":
        services.release(actor=people.alice, grant_id=grant.pk)
    else:
        ended(grant)
    before = told(grant)

    with pytest.raises(Conflict):
        call(verb, people.alice if verb == "release" else people.dana, grant.pk)

    assert told(grant) == before


@pytest.mark.parametrize("who", ["dana", "sam", "bob"])
def test_release_is_not_allowed_when_the_grant_is_anothers(people: Cast, who: str) -> None:
    grant = queued(people.alice)

    with pytest.raises((NotAllowed, NotFound)):
        call("release", getattr(people, who), grant.pk)

    now_in(grant, GrantStatus.QUEUED)


@pytest.mark.parametrize("who", ["alice", "bob", "audrey"])
def test_revoke_is_not_allowed_when_one_does_not_answer_for_the_database(people: Cast, who: str) -> None:
    grant = queued(people.alice)

    with pytest.raises((NotAllowed, NotFound)):
        call("revoke", getattr(people, who), grant.pk)

    now_in(grant, GrantStatus.QUEUED)


@pytest.mark.parametrize("reason", ["", "   ", "a\0b", "x" * 2001])
def test_revoke_is_invalid_when_no_reason_is_given(people: Cast, reason: str) -> None:
    grant = queued(people.alice)

    with pytest.raises(Invalid) as refusal:
        services.revoke(actor=people.dana, grant_id=grant.pk, reason=reason)

    assert refusal.value.field == "reason"


def test_revoke_keeps_the_reason_out_of_the_bodies_when_it_is_recorded(people: Cast) -> None:
    grant = queued(people.alice)

    services.revoke(actor=people.dana, grant_id=grant.pk, reason="Alice was seen in the wrong room.")

    now_in(grant, GrantStatus.ENDING)
    assert (grant.ended_by, grant.end_reason) == (people.dana, "Alice was seen in the wrong room.")
    entry = audit.entries(limit=1000, where=audit.Filter(subjects=(grant.audit_id,), action="grant.revoked"))[0]
    assert entry.disclosed["reason"] == grant.end_reason
    assert "wrong room" not in entry.body.decode()


def test_warn_expiring_tells_once_when_the_end_is_near(people: Cast) -> None:
    grant = active(people.alice, minutes=10)
    assert services.warn_expiring() == 0

    with clock.shifted(timedelta(minutes=8, seconds=1)):
        assert services.warn_expiring() == 1
        assert services.warn_expiring() == 0

    assert told(grant)[-1] == "grant.expiring"


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 30), (3, 90), (10, 120), (30, 180), (50, 300), (60, 300)])
def test_to_warn_leaves_time_when_the_grant_is_long_or_short(people: Cast, minutes: int, seconds: int) -> None:
    grant = active(people.alice, minutes=minutes)

    (found,) = services.to_warn()

    assert grant.expires_at is not None
    assert grant.expires_at - found.warn_at == timedelta(seconds=seconds)
