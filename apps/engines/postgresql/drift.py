"""The proof of live logins again, in one pass over their database: once for each scope, whoever shares it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from apps.engines.base import Drift, LoginSpec, TableName, Target
from apps.engines.postgresql import closure, names
from apps.engines.postgresql.closure import Cascade, Columns, Held, Identity, Leak, Right, listed
from apps.engines.postgresql.connect import Connection, session
from apps.engines.postgresql.errors import retried
from apps.engines.postgresql.live_scopes import LiveScope, read_scopes
from apps.engines.postgresql.view_plans import masked_elsewhere

# Gaining one of these is reach that nobody approved, whatever the tables' privileges say.
_POWERS = ("SUPERUSER", "BYPASSRLS")
_MOST_TOLD = 50
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})


@dataclass(frozen=True)
class _Look:
    """What one look at the target told."""

    identities: Mapping[str, Identity]
    held: Mapping[int, list[Held]]
    scopes: Sequence[LiveScope]
    leaks: Mapping[Columns, list[Leak]]
    columns: Mapping[TableName, list[str]]
    cascades: Mapping[int, list[Cascade]]


def drift(target: Target, database: str, specs: Sequence[LoginSpec]) -> list[Drift]:
    """Those that are not as they were proven, in the order of `specs`."""
    if not specs:
        return []
    return retried(lambda: _drift(target, database, specs))


def _drift(target: Target, database: str, specs: Sequence[LoginSpec]) -> list[Drift]:
    with session(target, database, doing=f"looking at live logins in “{database}”") as connection:
        look = _look(connection, target, specs)
    by_login = {spec.login: (live, spec) for live in look.scopes for spec in live.specs}
    shared = {live.number: _of_scope(live, look) for live in look.scopes}
    found = []
    for spec in specs:
        live, _ = by_login[spec.login]
        identity = look.identities.get(spec.login)
        if identity is None:
            found.append(Drift(spec.login, changed=("The login is gone from the server, or has another name.",)))
            continue
        opened, changed = _of_login(target, live, identity, look)
        common = shared[live.number]
        if opened or changed or common != ((), ()):
            found.append(Drift(spec.login, _once(common[0], opened), _once(common[1], changed)))
    return found


def _look(connection: Connection, target: Target, specs: Sequence[LoginSpec]) -> _Look:
    """A number of queries that does not grow with the logins, only with the scopes that have views."""
    identities = closure.identities(connection, [spec.login for spec in specs])
    every_role = {role for identity in identities.values() for role in identity.roles}
    held = closure.held(connection, every_role)
    scopes = read_scopes(connection, target, specs)
    direct = {oid: table for live in scopes for table, oid in live.direct.items()}
    columns: dict[TableName, list[str]] = {}
    for table, column in closure.columns_of(connection, direct):
        columns.setdefault(table, []).append(column)
    sources = sorted({oid for live in scopes for _, oid in live.sources})
    classified = {live.classified for live in scopes}
    leaks = {each: closure.ask_leaks(connection, every_role, each, sources)() for each in classified}
    starts = [start for live in scopes for start in _starts(live, held)]
    cascades: dict[int, list[Cascade]] = {}
    for one in closure.cascades(connection, starts):
        cascades.setdefault(one.scope, []).append(one)
    return _Look(identities, held, scopes, leaks, columns, cascades)


def _starts(live: LiveScope, held: Mapping[int, list[Held]]) -> Iterable[closure.Start]:
    return closure.starts(live.number, live.scope.level, _rights(live, held), live.relations)


def _rights(live: LiveScope, held: Mapping[int, list[Held]]) -> set[Right]:
    """What the scope role itself holds."""
    rows = held.get(live.role_oid, ()) if live.role_oid else ()
    return closure.rights(Identity(live.role, "", False, frozenset(), frozenset(), frozenset()), rows, live.role)


def _of_scope(live: LiveScope, look: _Look) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(opened, changed) for every login of the scope."""
    roles = frozenset({live.role_oid}) if live.role_oid else frozenset[int]()
    opened, changed = list(live.opened), list(live.changed)
    leaks = look.leaks[live.classified]
    opened += _leaks(live, leaks, roles)
    opened += closure.behind_views(live.scope, live.sources, leaks, live.classified)
    for right, sentence in _differences(live.expected, _rights(live, look.held), live.unplanned):
        (opened if _tells(right, live) else changed).append(sentence)
    changed += _unknown(live, look)
    cascades = look.cascades.get(live.number, ())
    for one in closure.over_masked(cascades, masked_elsewhere(live.scope, live.classified)):
        opened.append(f"Changing {one.origin} changes rows of {one.object} by now, and errors show its masked columns.")
    if outside := closure.outside(live.scope, cascades):
        tables = sorted({str(TableName(one.schema, one.name)) for one in outside})
        changed.append(f"Changes cascade to tables outside the grant by now: {listed(tables)}.")
    return tuple(opened), tuple(changed)


def _of_login(target: Target, live: LiveScope, identity: Identity, look: _Look) -> tuple[list[str], list[str]]:
    """(opened, changed) of one login beyond its scope: as a rule a look at three empty sets."""
    opened: list[str] = []
    changed: list[str] = []
    if not names.is_ours(target.portal_id, identity.comment):
        changed.append(f"The login {identity.login} does not carry this portal's mark any more.")
    if identity.locked:
        changed.append("Somebody has locked the login on the server (NOLOGIN), so nobody can sign in with it.")
    extra = identity.roles - {live.role_oid}
    rows = [one for role in sorted(extra) for one in look.held.get(role, ())]
    actual = closure.rights(identity, rows, live.role)
    for right, sentence in _differences({closure.membership(identity.login, live.role)}, actual, frozenset()):
        power = right.kind == "role" or (right.kind == "attribute" and right.name in _POWERS)
        (opened if power and right in actual else changed).append(sentence)
    if rows or len(extra) > 1:
        opened += _leaks(live, look.leaks[live.classified], identity.roles)
    return opened, changed


def _leaks(live: LiveScope, leaks: Iterable[Leak], roles: frozenset[int]) -> Iterator[str]:
    for leak in leaks:
        if leak.oid not in live.own_views and leak.reaches(roles):
            yield closure.leak_sentence(leak, live=True)


def _differences(
    expected: set[Right], actual: set[Right], unplanned: frozenset[tuple[str, str]]
) -> Iterator[tuple[Right, str]]:
    """`unplanned`: (schema, name) of views of which is not known what should be held on them."""
    for right in sorted(actual - expected):
        if (right.schema, right.name) not in unplanned:
            away = f": {right.fix}" if right.fix else "; a DBA must take it away."
            yield right, f"It has {right} through {right.via} by now, which was not approved{away}"
    for right in sorted(expected - actual):
        yield right, f"It lacks {right}, which was approved and came through {right.via}."


def _tells(right: Right, live: LiveScope) -> bool:
    """A right to write through a view of the scope that would not be given now: its outcome tells hidden values."""
    return (
        right not in live.expected
        and right.privilege.removesuffix(" WITH GRANT OPTION") in _WRITES
        and (right.schema, right.name) in live.view_names
    )


def _unknown(live: LiveScope, look: _Look) -> Iterator[str]:
    """Of a classified one is told as of a leak."""
    columns = [(table, name) for table in live.direct for name in look.columns.get(table, ())]
    known = live.specs[0].known
    unseen = [one for one in columns if one not in known and one not in live.classified]
    for table in dict.fromkeys(table for table, _ in unseen):
        added = [name for owner, name in unseen if owner == table]
        yield f"{table} has columns that the catalog had not seen ({listed(added)}), and they are within reach."


def _once(*parts: Iterable[str]) -> tuple[str, ...]:
    """Each sentence once, the first of them where there are very many."""
    told = list(dict.fromkeys(sentence for part in parts for sentence in part))
    more = len(told) - _MOST_TOLD
    return (*told[:_MOST_TOLD], f"There is more of the kind: {more} findings.") if more > 0 else tuple(told)
