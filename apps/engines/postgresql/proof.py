"""Proof before use: what a login can reach, read from the catalogs and compared with what was approved."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.engines.base import Evidence, Level, LoginSpec, Reach, Refused, TableName
from apps.engines.postgresql import closure, exposure, names
from apps.engines.postgresql.closure import Cascade, Held, Identity, Right, listed
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
    held = [one for rows in closure.held(connection, identity.roles).values() for one in rows]
    approved = _approved(spec, things)
    cascades = _cascades(connection, spec, things, views)
    open_to_all = exposure.beyond(
        connection, spec, identity.roles, _direct(things), [view.source_oid for view in views]
    )
    problems = [
        *_differences(approved, closure.rights(identity, held, names.scope_role_name(spec.scope))),
        *_leaks(connection, spec, identity, views),
        *_unknown(connection, spec, things),
        *_outside(spec, cascades),
        *_over_masked(spec, cascades),
    ]
    open_reach, cut = _open_reach(open_to_all)
    findings = (
        *exposure.findings(open_to_all),
        *exposure.readers(connection, spec, open_to_all),
        *_left_objects(spec, held),
        *_given_away(held),
        *cut,
    )
    reach = (*_reach(identity, held), *_by_cascade(cascades), *open_reach)
    evidence = Evidence(checked_at, reach, findings, tuple(view.shown for view in views))
    return Proof(evidence=evidence, problems=tuple(problems))


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


def _leaks(connection: Connection, spec: LoginSpec, identity: Identity, views: Sequence[View]) -> Iterator[str]:
    """Classified columns within reach, by any way but the scope's own views."""
    found = closure.leaks(connection, identity.roles, spec.classified, [view.source_oid for view in views])
    own = {view.oid for view in views}
    for leak in found:
        if leak.oid not in own and leak.reaches(identity.roles):
            yield closure.leak_sentence(leak)
    sources = [(view.table, view.source_oid) for view in views]
    yield from closure.behind_views(spec.scope, sources, found, spec.classified)


def _unknown(connection: Connection, spec: LoginSpec, things: Sequence[Thing]) -> Iterator[str]:
    """Columns that the catalog has not seen: nobody can have said that they are harmless."""
    for table, columns in closure.unknown(spec, closure.columns_of(connection, _direct(things))).items():
        unseen = f"{table} has columns that the catalog has not seen ({listed(columns)})"
        yield f"{unseen}: read the catalog, then ask again."


def _cascades(connection: Connection, spec: LoginSpec, things: Sequence[Thing], views: Sequence[View]) -> list[Cascade]:
    if spec.scope.level is not Level.CHANGE:
        return []
    relations = {(table.schema, table.name): oid for oid, table in _direct(things).items()}
    relations |= {(view.schema, view.name): view.source_oid for view in views}
    starts = list(closure.starts(0, spec.scope.level, _approved(spec, things), relations))
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


def _left_objects(spec: LoginSpec, held: Sequence[Held]) -> Iterator[str]:
    role = names.scope_role_name(spec.scope)
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
