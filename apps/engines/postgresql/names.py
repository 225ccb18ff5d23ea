"""The names of roles on a target, and the comments that say whose they are."""

import hashlib
import json
import re
import unicodedata
from typing import LiteralString

from apps.engines.base import Level, Refused, Scope

# Holds the grant options and nothing else; the manager becomes it to give rights to scope roles.
MASKER = "jitportal_masker"
# Has no right at all: whoever comments on it holds a lock that a login can neither take nor keep.
LOCK = "jitportal_lock"
# 16+: every role change costs time in proportion to the roles its creator has made (field notes R4).
MAKERS = 16

RIGHTS: dict[Level, tuple[LiteralString, ...]] = {
    Level.QUERY: ("SELECT",),
    Level.EXPORT: ("SELECT",),
    Level.CHANGE: ("SELECT", "INSERT", "UPDATE", "DELETE"),
}

_MARK = "jitportal portal="
_PERSON_LENGTH = 24
_HASH_LENGTH = 32
_LOGIN = re.compile(r"jit_[a-z0-9]{1,24}_[a-z0-9]{10}")
_SCOPE_ROLE = re.compile(r"jitscope_[0-9a-f]{32}")
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


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


def scope_role_name(scope: Scope) -> str:
    """The same scope has the same role, whoever asks: database, rights and tables are in the name as a hash."""
    content = [scope.database, RIGHTS[scope.level], [[table.schema, table.name] for table in sorted(scope.tables)]]
    digest = hashlib.sha256(json.dumps(content, ensure_ascii=True).encode("ascii")).hexdigest()
    return f"jitscope_{digest[:_HASH_LENGTH]}"


def checked_scope_role(role: str) -> str:
    """The name as it is, or Refused."""
    if not _SCOPE_ROLE.fullmatch(role):
        raise Refused(f"“{role}” is not the name of a scope role of this portal.")
    return role


def maker_name(login: str) -> str:
    """The maker that this login belongs to on 16+, from its name alone."""
    return f"jitportal_maker_{hashlib.sha256(login.encode()).digest()[0] % MAKERS}"


def comment(portal_id: str, what: str) -> str:
    """What stands on a role of ours; `what` is for the DBA who wonders about it."""
    return f"{_prefix(portal_id)}{what}"


def is_ours(portal_id: str, comment: str | None) -> bool:
    """Whether a role's comment is of this very portal: no comment is a foreign one."""
    return bool(comment) and str(comment).startswith(_prefix(portal_id))


def checked_word(word: str, *, what: str) -> str:
    """An opaque id that may stand in a comment, or Refused."""
    if not _WORD.fullmatch(word):
        raise Refused(f"The {what} “{word}” must be 1 to 64 letters, digits or any of _.:- to stand in a comment.")
    return word


def _prefix(portal_id: str) -> str:
    return f"{_MARK}{checked_word(portal_id, what='portal id')} "
