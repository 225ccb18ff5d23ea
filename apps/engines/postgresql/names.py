"""The names of roles and view schemas on a target, and the comments that say whose they are."""

import hashlib
import json
import re
import unicodedata
from functools import lru_cache
from typing import LiteralString

from apps.engines.base import Level, Refused, Scope, TableName, ViewedTable

# Holds the grant options and owns the view schemas; the manager becomes it to give rights to scope roles.
MASKER = "jitportal_masker"
# Has no right at all: whoever comments on it holds a lock that a login can neither take nor keep.
LOCK = "jitportal_lock"
# Has no right either: its comment holds the word that the portal leaves for itself. Not the lock's comment: that is
# written at each turn, and whoever has read it before their turn would put an old word back.
MEMORY = "jitportal_memory"
# 16+: every role change costs time in proportion to the roles its creator has made (field notes R4).
MAKERS = 16

RIGHTS: dict[Level, tuple[LiteralString, ...]] = {
    Level.QUERY: ("SELECT",),
    Level.EXPORT: ("SELECT",),
    Level.CHANGE: ("SELECT", "INSERT", "UPDATE", "DELETE"),
}

_MARK = "jitportal portal="
_MAKER = "jitportal_maker_"
_PERSON_LENGTH = 24
_HASH_LENGTH = 32
_VIEWS_HASH_LENGTH = 10
DIGEST_LENGTH = 32
_LOGIN = re.compile(r"jit_[a-z0-9]{1,24}_[a-z0-9]{10}")
_SCOPE_ROLE = re.compile(r"jitscope_[0-9a-f]{32}")
# The same for the server: a role's name, and what follows `login=` in a comment.
SCOPE_ROLE = f"^{_SCOPE_ROLE.pattern}$"
MARKED_LOGIN = f"^{_LOGIN.pattern} request="
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_LONGEST = 63  # bytes of a name
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_REMEMBERED = re.compile(r"[A-Za-z0-9_.:=-]{1,200}")
_VIEWS_OF = re.compile(r"scope=(jitscope_[0-9a-f]{32}) ")
_LOGIN_OF = re.compile(r"login=(jit_[a-z0-9]{1,24}_[a-z0-9]{10}) request=")


def login_name(person: str, grant_id: str) -> str:
    """`jit_<person>_<grant id>`; letters lose their accents, and a person all of symbols is called `user`."""
    plain = unicodedata.normalize("NFKD", person).lower()
    letters = re.sub(r"[^a-z0-9]", "", plain)[:_PERSON_LENGTH]
    return checked_login(f"jit_{letters or 'user'}_{grant_id}")


def checked_login(login: str) -> str:
    """The name as it is, or Refused: nothing else is ever altered or dropped as a login."""
    if not _LOGIN.fullmatch(login):
        raise Refused(f"“{login}” is not the name of a login of this portal (jit_<person>_<grant id>).")
    return login


@lru_cache(maxsize=64)
def scope_role_name(scope: Scope) -> str:
    """The same scope has the same role, whoever asks: database, rights, tables and views are in the name as a hash."""
    tables = [[table.schema, table.name] for table in sorted(scope.tables)]
    content: list[object] = [scope.database, RIGHTS[scope.level], tables]
    if scope.views:
        content.append([_hashed(view) for view in sorted(scope.views)])
    digest = hashlib.sha256(json.dumps(content, ensure_ascii=True).encode("ascii")).hexdigest()
    return f"jitscope_{digest[:_HASH_LENGTH]}"


def _hashed(view: ViewedTable) -> list[object]:
    masks = [[column, str(mask)] for column, mask in sorted(view.masks)]
    filters = [[one.column, one.operator, list(one.values)] for one in sorted(view.filters)]
    return [view.table.schema, view.table.name, list(view.columns), masks, filters]


def view_schema_name(scope_role: str, schema: str) -> str:
    """Where the views of a scope on a schema's tables are; `jit_<hash>_` and as much of its name as fits."""
    head = f"jit_{hashlib.sha256(f'{scope_role}.{schema}'.encode()).hexdigest()[:_VIEWS_HASH_LENGTH]}_"
    return head + schema.encode()[: _LONGEST - len(head)].decode(errors="ignore")


def view_schemas(scope: Scope) -> dict[str, str]:
    """Source schema -> schema of the views on it, in order."""
    role = scope_role_name(scope)
    return {schema: view_schema_name(role, schema) for schema in sorted({view.table.schema for view in scope.views})}


def quoted(table: TableName) -> str:
    """For people and for SQL: in quotes only where they are needed."""
    return ".".join(
        part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in (table.schema, table.name)
    )


def checked_scope_role(role: str) -> str:
    """The name as it is, or Refused."""
    if not _SCOPE_ROLE.fullmatch(role):
        raise Refused(f"“{role}” is not the name of a scope role of this portal.")
    return role


def maker_name(login: str) -> str:
    """The maker that this login belongs to on 16+, from its name alone."""
    return f"{_MAKER}{hashlib.sha256(login.encode()).digest()[0] % MAKERS}"


def makers() -> list[str]:
    """All of them, whether they have been made yet or not."""
    return [f"{_MAKER}{number}" for number in range(MAKERS)]


def graveyard_name(login: str) -> str:
    """Owns what this login has left behind and others need."""
    return f"jitportal_graveyard_{login.rpartition('_')[2]}"


def comment(portal_id: str, what: str) -> str:
    """What stands on a role, schema or view of ours; `what` is for the DBA who wonders about it."""
    return f"{_prefix(portal_id)}{what}"


def view_schema_comment(portal_id: str, scope_role: str, schema: str) -> str:
    """What stands on a schema of views, and how it is found again."""
    return comment(portal_id, f"scope={scope_role} views for temporary grants on the schema {schema}")


def without_mark(portal_id: str, comment: str) -> str:
    """What a comment of ours says."""
    return comment.removeprefix(_prefix(portal_id))


def login_of(portal_id: str, comment: str) -> str | None:
    """The login that a comment of ours is of, whatever its role is called by now."""
    found = _LOGIN_OF.match(without_mark(portal_id, comment))
    return found[1] if found else None


def scope_role_of(portal_id: str, comment: str) -> str | None:
    """The scope role that a schema with this comment of ours holds views of."""
    found = _VIEWS_OF.match(without_mark(portal_id, comment))
    return found[1] if found else None


def is_scope_role(role: str) -> bool:
    return bool(_SCOPE_ROLE.fullmatch(role))


def is_ours(portal_id: str, comment: str | None) -> bool:
    """Whether a role's comment is of this very portal: no comment is a foreign one."""
    return bool(comment) and str(comment).startswith(_prefix(portal_id))


def checked_word(word: str, *, what: str) -> str:
    """An opaque id that may stand in a comment, or Refused."""
    if not _WORD.fullmatch(word):
        raise Refused(f"The {what} “{word}” must be 1 to 64 letters, digits or any of _.:- to stand in a comment.")
    return word


def checked_remembered(word: str) -> str:
    """What remember() may leave in a comment, or Refused."""
    if not _REMEMBERED.fullmatch(word):
        raise Refused("What is left on a server for the portal is 1 to 200 letters, digits or any of _.:=-.")
    return word


@lru_cache(maxsize=8)  # a server may have thousands of comments
def _prefix(portal_id: str) -> str:
    return f"{_MARK}{checked_word(portal_id, what='portal id')} "
