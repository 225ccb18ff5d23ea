"""What everybody may reach in a database beyond any grant, and what of it a login finds."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from psycopg.rows import class_row

from apps.engines.base import Exposure, Level, LoginSpec, Target
from apps.engines.postgresql.closure import as_arrays, listed
from apps.engines.postgresql.connect import Connection, ask, session
from apps.engines.postgresql.queries import oid_array, query, text_array

_SHOWN = 100
_READ = 500  # of a kind

# What everybody has anyway: {count} and {names}. Worded for the approver and the DBA.
_FOUND = {
    "readable": "Beyond the grant, PUBLIC may read {count} relations of this database: {names}.",
    "writable": "Beyond the grant, PUBLIC may write to {count} relations of this database: {names}.",
    "statistics": "PUBLIC may read the statistics of {count} relations in closed schemas, values among them: {names}.",
    "sequence": "PUBLIC may use or read {count} sequences: {names}.",
    "definer": "{count} functions that run with their owner's rights can be called by this login: {names}.",
    "carried": "{count} functions of closed schemas run with their owner's rights through something open: {names}.",
    "unsafe language": "{count} functions in an untrusted language can be called by this login: {names}.",
    "catalog": "{count} functions of the server were opened to PUBLIC beyond the standard: {names}.",
    "catalog relation": "{count} relations of the server were opened to PUBLIC beyond the standard: {names}.",
    "create": "PUBLIC may create objects in {count} schemas: {names}.",
    "database": "PUBLIC may connect to {count} other databases of this server: {names}.",
    "temporary": "PUBLIC may create temporary tables in this database.",
    "foreign server": "PUBLIC may use {count} foreign servers: {names}.",
    "large object": "PUBLIC may read or write {count} large objects: {names}.",
    "parameter": "PUBLIC may set {count} parameters of the server: {names}.",
    "tablespace": "PUBLIC may create in {count} tablespaces: {names}.",
    "to come": "What {count} roles are still to make will be open to PUBLIC: {names}.",
    "definer trigger": "Changes to these tables fire {count} triggers that run with their owner's rights: {names}.",
    "rule": "Changes to these tables are rewritten by {count} rules, which run with their owner's rights: {names}.",
}
# The same without a login in mind.
_EVERYBODY = {
    "readable": "Everybody may read {count} relations, as soon as a grant opens their schema.",
    "writable": "Everybody may write to {count} relations, as soon as a grant opens their schema.",
    "definer": "Everybody may run {count} functions with their owner's rights, as soon as a grant opens their schema.",
    "unsafe language": "Everybody may run {count} functions in an untrusted language.",
    "carried": "{count} functions of closed schemas run with their owner's rights through something open.",
    "notifies": (
        "{count} functions notify: what they send is read by every login that listens, whatever it may read otherwise."
    ),
}


@dataclass(frozen=True)
class Open:
    """A row of sql/exposure.sql. `total` and `rows` are those of the whole kind."""

    what: str
    object: str
    name: str
    privileges: list[str]
    via: str
    fix: str
    total: int
    rows: int
    owner: str  # quoted, of a function that runs with its rights


def exposure(target: Target, database: str) -> list[Exposure]:
    """By kind, the worst first as the words above stand."""
    with session(target, database, doing=f"looking at what everybody may reach in “{database}”") as connection:
        found = _ask(connection, roles=(), given=(), changed=(), everywhere=True)()
        notifying = notifies(connection)
    kinds = {what: list(rows) for what, rows in groupby(found, key=lambda one: one.what)}
    exposures = [_exposure(what, kinds[what]) for what in _FOUND if what in kinds]
    if notifying:
        sentence = _EVERYBODY["notifies"].format(count=len(notifying))
        exposures.append(Exposure("notifies", sentence, len(notifying), tuple(notifying[:_SHOWN])))
    return exposures


def _exposure(what: str, rows: Sequence[Open]) -> Exposure:
    shown = tuple(dict.fromkeys(one.name for one in rows))[:_SHOWN]
    fixes = dict.fromkeys(one.fix for one in rows if one.name in shown)
    words = _EVERYBODY.get(what) or _FOUND[what].replace(": {names}", "")
    return Exposure(what, words.format(count=rows[0].total), rows[0].total, shown, "\n".join(fixes))


def ask_beyond(
    connection: Connection, spec: LoginSpec, roles: Collection[int], direct: Collection[int], sources: Collection[int]
) -> Callable[[], list[Open]]:
    """What a login with these roles finds; see connect.ask(). `direct`: tables given to it; `sources`: those behind
    its views.
    """
    changed = [*direct, *sources] if spec.scope.level is Level.CHANGE else []
    return _ask(connection, roles=roles, given=direct, changed=changed, everywhere=False)


def findings(found: Sequence[Open]) -> Iterator[str]:
    """A sentence for each kind."""
    for what, rows in groupby(found, key=lambda one: one.what):
        if what:
            shown = list(rows)
            unique = list(dict.fromkeys(one.name for one in shown))
            yield _FOUND[what].format(count=shown[0].total, names=listed(unique, shown[0].total))


def readers(connection: Connection, spec: LoginSpec, found: Sequence[Open]) -> Iterator[str]:
    """Functions that might show a classified column: what a function does cannot be proven."""
    owners = sorted({one.owner for one in found if one.owner})
    if not owners or not spec.classified:
        return
    parameters = {**as_arrays(spec.classified), "owners": text_array(owners)}
    may_read = {owner for (owner,) in connection.execute(query("readers"), parameters)}
    if able := list(dict.fromkeys(one.name for one in found if one.owner in may_read)):
        yield (
            f"{len(able)} of these functions run as somebody who may read classified columns, and what they show "
            f"cannot be proven: {listed(able)}."
        )


def notifies(connection: Connection) -> list[str]:
    """Functions that notify, with the triggers that fire them."""
    rows = connection.execute(query("notifies"), {})
    return [f"{name}, fired by {', '.join(triggers)}" if triggers else str(name) for name, triggers in rows]


def _ask(
    connection: Connection,
    *,
    roles: Collection[int],
    given: Collection[int],
    changed: Collection[int],
    everywhere: bool,
) -> Callable[[], list[Open]]:
    parameters = {
        "roles": oid_array(roles),
        "given": oid_array(given),
        "changed": oid_array(changed),
        "everywhere": everywhere,
        "most": _READ,
    }
    return ask(connection, query("exposure"), parameters, class_row(Open))
