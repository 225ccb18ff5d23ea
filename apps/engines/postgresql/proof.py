"""Proof before use: what a login can reach, read from the catalogs and compared with what was approved."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.engines.base import Evidence, Level, LoginSpec, Reach, Refused, TableName
from apps.engines.postgresql import closure, exposure, names
from apps.engines.postgresql.closure import Cascade, Held, Identity, Leak, Right, listed
from apps.engines.postgresql.connect import Connection
from apps.engines.postgresql.scopes import Thing
from apps.engines.postgresql.view_plans import masked_elsewhere
from apps.engines.postgresql.views import View

# Of what is open to PUBLIC; the rest is counted.
_MOST_OPEN = 500
# Last in evidence, as there may be thousands.
_PLENTY = ("", "readable", "writable", "sequence", "unsafe language")
# Told as findings only: a login cannot name these.
_UNNAMED = ("definer trigger", "rule", "statistics")


@dataclass(frozen=True)
class Proof:
    """`problems` are sentences; with any of them the login must not be opened."""

    evidence: Evidence
    problems: tuple[str, ...]


def prove(connection: Connection, spec: LoginSpec, things: Sequence[Thing], views: Sequence[View]) -> Proof:
    """Compute the closure of a login in the database it is for. `things` and `views` are those of its scope."""
    checked_at: datetime = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
    identity = closure.identities(connection, [spec.login]).get(spec.login)
    if identity is None:
        raise Refused(f"The login {spec.login} was removed while it was being proven.")
    role, direct, sources = names.scope_role_name(spec.scope), _direct(things), [view.source_oid for view in views]
    # While the server reads on, what it has told is compared.
    with connection.pipeline():
        tell_held = closure.ask_held(connection, identity.roles)
        approved = _approved(spec, things)
    cascades = _cascades(connection, spec, approved, direct, views)
    with connection.pipeline():
        tell_open = exposure.ask_beyond(connection, spec, identity.roles, direct, sources)
        held = tell_held()
        differences = tuple(_differences(approved, closure.rights(identity, held, role)))
        held_reach = (*_reach(identity, held), *_by_cascade(cascades))
        told = (*_left_objects(role, held), *_given_away(held))
    with connection.pipeline():
        tell_leaks = closure.ask_leaks(connection, identity.roles, spec.classified, sources)
        open_to_all = tell_open()
        open_reach, cut = _open_reach(open_to_all)
    problems = (
        *differences,
        *_leaks(spec, identity, views, tell_leaks()),
        *_unknown(spec, closure.columns_of(connection, direct)),
        *_outside(spec, cascades),
        *_over_masked(spec, cascades),
    )
    readers = exposure.readers(connection, spec, open_to_all)
    findings = (*exposure.findings(open_to_all), *readers, *told, *cut)
    reach = (*held_reach, *open_reach)
    return Proof(Evidence(checked_at, reach, findings, tuple(view.shown for view in views)), problems)


def _approved(spec: LoginSpec, things: Sequence[Thing]) -> set[Right]:
    role = names.scope_role_name(spec.scope)
    approved = {
        Right("table" if thing.kind == "view" else thing.kind, thing.schema, thing.name, thing.column, right, role)
        for thing in things
        for right in thing.wanted
    }
    return approved | {closure.membership(spec.login, role)}


def _differences(approved: set[Right], actual: set[Right]) -> Iterator[str]:
    """Everything approved is there, through the scope role, and nothing else is held."""
    for right in sorted(actual - approved):
        away = f": {right.fix}" if right.fix else "; a DBA must take it away."
        yield f"It would also have {right} through {right.via}, which was not approved{away}"
    for right in sorted(approved - actual):
        yield f"It would lack {right}, which was approved and should come through {right.via}."


def _leaks(spec: LoginSpec, identity: Identity, views: Sequence[View], found: Sequence[Leak]) -> Iterator[str]:
    """Classified columns within reach, by any way but the scope's own views."""
    own = {view.oid for view in views}
    for leak in found:
        if leak.oid not in own and leak.reaches(identity.roles):
            yield closure.leak_sentence(leak)
    sources = [(view.table, view.source_oid) for view in views]
    yield from closure.behind_views(spec.scope, sources, found, spec.classified)


def _unknown(spec: LoginSpec, columns: Iterable[tuple[TableName, str]]) -> Iterator[str]:
    """Columns that the catalog has not seen: nobody can have said that they are harmless."""
    for table, unknown in closure.unknown(spec, columns).items():
        unseen = f"{table} has columns that the catalog has not seen ({listed(unknown)})"
        yield f"{unseen}: read the catalog, then ask again."


def _cascades(
    connection: Connection,
    spec: LoginSpec,
    approved: set[Right],
    direct: Mapping[int, TableName],
    views: Sequence[View],
) -> list[Cascade]:
    if spec.scope.level is not Level.CHANGE:
        return []
    relations = {(table.schema, table.name): oid for oid, table in direct.items()}
    relations |= {(view.schema, view.name): view.source_oid for view in views}
    starts = list(closure.starts(0, spec.scope.level, approved, relations))
    return closure.cascades(connection, starts)


def _outside(spec: LoginSpec, cascades: Sequence[Cascade]) -> Iterator[str]:
    if found := closure.outside(spec.scope, cascades):
        tables = sorted({str(TableName(one.schema, one.name)) for one in found})
        yield (
            f"Changing these tables would also change rows of tables outside the grant, by cascading foreign keys: "
            f"{listed(tables)}. Ask for these tables as well, or for less."
        )


def _over_masked(spec: LoginSpec, cascades: Sequence[Cascade]) -> Iterator[str]:
    for one in closure.over_masked(cascades, masked_elsewhere(spec.scope, spec.classified)):
        yield (
            f"Changing {one.origin} would also change rows of {one.object}, by a cascading foreign key and with its "
            "owner's rights, and errors there would show masked columns: leave one of the two out, or ask for query."
        )


def _left_objects(role: str, held: Sequence[Held]) -> Iterator[str]:
    if left := [one.name for one in held if closure.left_behind(one, role)]:
        yield f"Earlier logins of this scope left {len(left)} objects to {role}: {listed(left)}."


def _given_away(held: Sequence[Held]) -> Iterator[str]:
    if given := [one.name for one in held if one.privileges == closure.GIVEN_AWAY]:
        yield f"Other logins have given rights on {len(given)} things of their own: {listed(given)}."


def _reach(identity: Identity, held: Sequence[Held]) -> Iterator[Reach]:
    for one in held:
        name = one.object if one.kind == "other" else f"{one.kind} {one.object}"
        yield Reach(object=name, privileges=tuple(one.privileges), via=one.via)
    for role in sorted({role for role, _ in identity.memberships}):
        yield Reach(object=f"role {role}", privileges=("MEMBER",), via="membership")
    for attribute, role in sorted(identity.attributes):
        yield Reach(object=f"attribute {attribute}", privileges=("HAS",), via=role)


def _by_cascade(cascades: Iterable[Cascade]) -> Iterator[Reach]:
    for one in cascades:
        yield Reach(object=f"table {one.object}", privileges=tuple(one.events), via=f"cascade from {one.origin}")


def _open_reach(found: Sequence[exposure.Open]) -> tuple[list[Reach], list[str]]:
    """What comes through PUBLIC and functions of others, as far as it is listed; and what is said of the rest."""
    rows = [one for one in found if one.what not in _UNNAMED]
    rows.sort(key=lambda one: _PLENTY.index(one.what) if one.what in _PLENTY else -1)
    merged: dict[tuple[str, str], set[str]] = {}
    for one in rows:
        merged.setdefault((one.object, one.via), set()).update(one.privileges)
        if one.owner:
            merged.setdefault((f"role {one.owner}", f"definer {one.object}"), set()).add("ACTS AS")
    reach = [Reach(what, tuple(sorted(privileges)), via) for (what, via), privileges in merged.items()]
    unread = sum({one.what: one.rows for one in rows}.values()) - len(rows)
    left = max(0, len(reach) - _MOST_OPEN) + unread
    said = [f"Of what is open to PUBLIC {left} more objects are not listed one by one."] if left else []
    return reach[:_MOST_OPEN], said


def _direct(things: Sequence[Thing]) -> dict[int, TableName]:
    return {
        thing.oid: TableName(thing.schema, thing.name)
        for thing in things
        if thing.kind == "table" and thing.oid is not None
    }
