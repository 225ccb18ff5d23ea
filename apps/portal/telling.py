"""The record in people's words: an entry becomes who, what, and the texts that came with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from django.urls import reverse

from apps.accounts.models import User
from apps.approvals.models import Review
from apps.audit.actions import Action
from apps.audit.services import Line
from apps.catalog.models import Database, Server
from apps.portal.words import span

# Action -> (tone, what somebody did). Tones are those of the timeline: "", good, wait, bad.
_ACTS: Final[dict[str, tuple[str, str]]] = {
    Action.REQUEST_SUBMITTED: ("", "asked for access"),
    Action.REQUEST_REFUSED: ("bad", "asked for what cannot be given"),
    Action.REQUEST_APPROVED: ("good", "approved the request with the last yes that it needed"),
    Action.REQUEST_DENIED: ("bad", "denied the request"),
    Action.REQUEST_CANCELLED: ("", "took the request back"),
    Action.REQUEST_LAPSED: ("bad", "closed the request: nobody decided in time"),
    Action.DECISION_APPROVED: ("good", "said yes"),
    Action.DECISION_NARROWED: ("wait", "narrowed the request"),
    Action.DECISION_DENIED: ("bad", "said no"),
    Action.DECISION_REFUSED: ("bad", "tried to decide and was refused"),
    Action.GRANT_QUEUED: ("wait", "put the grant in line"),
    Action.GRANT_ISSUING: ("wait", "began to make the login"),
    Action.GRANT_ISSUED: ("good", "opened the login, after checking all it can reach"),
    Action.GRANT_ISSUE_FAILED: ("bad", "could not make the login, and will try again"),
    Action.GRANT_FAILED: ("bad", "gave the grant up; no access is left"),
    Action.GRANT_EXPIRING: ("wait", "said that the time is almost up"),
    Action.GRANT_EXTENDING: ("wait", "began to give the login a later end"),
    Action.GRANT_EXTENDED: ("good", "let the login live longer; its sessions stay open"),
    Action.GRANT_EXTEND_FAILED: ("bad", "could not let the login live longer"),
    Action.GRANT_RELEASED: ("", "gave the access back"),
    Action.GRANT_REVOKED: ("bad", "revoked the access"),
    Action.ACCESS_REVOKED: ("bad", "took all access away"),
    Action.GRANT_WITHDRAWN: ("bad", "took the access back: by now it may not be given like this"),
    Action.GRANT_UNENTITLED: ("bad", "took the access back: its holder may no longer hold it"),
    Action.GRANT_ENDING: ("wait", "began to take the access away"),
    Action.GRANT_ENDED: ("good", "proved on the target that the access is gone"),
    Action.GRANT_END_FAILED: ("bad", "could not yet take the access away, and keeps trying"),
    Action.GRANT_LATE: ("bad", "raised the alarm: the access should be gone, and that is not proven"),
    Action.GRANT_SESSION_CUT: ("bad", "ended a session that stood in others' way"),
    Action.GRANT_REFUSED: ("bad", "tried to use or end the access and was refused"),
    Action.DRIFT_FOUND: ("bad", "found that the target has changed under the access"),
    Action.REVIEW_OPENED: ("bad", "broke the glass; a review is open"),
    Action.REVIEW_CLOSED: ("good", "closed the review"),
    Action.REVIEW_REFUSED: ("bad", "tried to close the review and was refused"),
    Action.CREDENTIAL_SHOWN: ("", "looked at the credential"),
    Action.CREDENTIAL_RESET_WANTED: ("wait", "asked for the password of the login to be set again"),
    Action.CREDENTIAL_RESETTING: ("wait", "began to set the password of the login again"),
    Action.CREDENTIAL_RESET: ("", "set the password of the login again, or said why not"),
    Action.STATEMENT_STARTED: ("", "started a statement"),
    Action.STATEMENT_FINISHED: ("", "saw a statement end"),
    Action.STATEMENT_REFUSED: ("bad", "tried to run something and was refused"),
    Action.CHANGE_BEGUN: ("wait", "opened a transaction that can change something"),
    Action.CHANGE_COMMITTING: ("wait", "began to commit"),
    Action.CHANGE_ENDED: ("", "saw a transaction end"),
    Action.ACCOUNT_SIGNED_IN: ("", "signed in"),
    Action.ACCOUNT_SIGN_IN_REFUSED: ("bad", "was refused at sign-in"),
    Action.ACCOUNT_STEPPED_UP: ("", "proved anew who they are"),
    Action.ACCOUNT_SIGN_IN_WANTED: ("wait", "asked somebody to sign in again, or their access ends"),
    Action.ACCOUNT_GROUPS_CHANGED: ("wait", "changed groups"),
    Action.ACCOUNT_PROVISIONED: ("", "made an account"),
    Action.ACCOUNT_DEACTIVATED: ("bad", "closed an account"),
    Action.ACCOUNT_REACTIVATED: ("wait", "opened an account again"),
    Action.ACCOUNT_EMERGENCY_CREATED: ("bad", "made an emergency administrator"),
    Action.ACCOUNT_EMERGENCY_SIGNED_IN: ("bad", "signed in as emergency administrator"),
    Action.TOKEN_CREATED: ("", "made an API token"),
    Action.TOKEN_REVOKED: ("", "revoked an API token"),
    Action.SESSION_ENDED: ("", "ended a session"),
    Action.GROUP_CHANGED: ("wait", "made or changed a group"),
    Action.EDIT_PROPOSED: ("wait", "put an edit that widens access, which waits for a second person"),
    Action.EDIT_AGREED: ("wait", "agreed to an edit that widens access, as the second person"),
    Action.EDIT_DECLINED: ("", "declined an edit that would widen access"),
    Action.EDIT_WITHDRAWN: ("", "took back an edit that would widen access"),
    Action.EDIT_REFUSED: ("bad", "was refused as the second person of an edit"),
    Action.SERVER_ADDED: ("", "added a server"),
    Action.SERVER_CHANGED: ("", "changed a server"),
    Action.SERVER_PREFLIGHTED: ("", "checked a server"),
    Action.MANAGER_PASSWORD_CHANGING: ("", "began to give the portal's login on a server a new password"),
    Action.MANAGER_PASSWORD_CHANGED: ("", "gave the portal's login on a server a new password"),
    Action.KEYS_ROTATED: ("", "encrypted what the portal keeps with its newest keys"),
    Action.SERVER_RETIRED: ("wait", "took a server out of the catalog"),
    Action.LOGIN_STRAY: ("bad", "found somebody with access that the portal does not know, and takes it away"),
    Action.PORTAL_RESTORED: ("bad", "found that a server remembers more than the record, and stopped all work"),
    Action.PORTAL_CONFIRMED: ("wait", "confirmed that the portal goes on with a restored record"),
    Action.SERVER_UNREACHABLE: ("", "found that a server does not answer"),
    Action.SERVER_REACHED: ("", "found that a server answers again"),
    Action.OBJECTS_LEFT: ("", "kept what an ended login owned and others need"),
    Action.SERVER_PORTAL_CONFIRMED: ("", "confirmed this portal on a server"),
    Action.DATABASE_ADDED: ("", "added a database"),
    Action.DATABASE_CHANGED: ("", "changed a database"),
    Action.CATALOG_SYNCED: ("", "read the tables of a database"),
    Action.COLUMN_CLASSIFIED: ("", "classified columns"),
    Action.CLASSIFICATION_IMPORTED: ("wait", "took over a list of classified columns"),
    Action.CLASSIFICATION_EXPORTED: ("", "took a copy of the classification"),
    Action.DATA_CLASS_CHANGED: ("wait", "changed a data class or its mask"),
    Action.SUGGESTION_DISMISSED: ("", "dismissed a guess that a column holds personal data"),
    Action.FILTER_ADDED: ("", "limited the rows of a table for every grant"),
    Action.FILTER_REMOVED: ("wait", "took a limit on the rows of a table away"),
    Action.TABLE_PAUSED: ("wait", "paused the masking of a table; nothing on it is granted meanwhile"),
    Action.TABLE_RESUMED: ("", "let a table be granted again"),
    Action.NOTIFYING_ACCEPTED: ("wait", "accepted that functions notify whoever listens"),
    Action.POLICY_CHANGED: ("wait", "changed the policy"),
    Action.RIGHTS_CHANGED: ("wait", "changed who may ask or who owns"),
    Action.BUNDLE_WANTED: ("", "asked for a bundle of evidence"),
    Action.BUNDLE_MADE: ("", "made a bundle of evidence"),
    Action.BUNDLE_FAILED: ("bad", "could not make a bundle of evidence"),
    Action.BUNDLE_TAKEN: ("", "took a bundle of evidence along"),
    Action.PERSON_ERASED: ("wait", "erased who somebody was; what they did stays"),
    Action.RECORD_READ: ("", "read the record"),
    Action.RECORD_EXPORTED: ("", "took a copy of the record"),
    Action.RECORD_BROKEN: ("bad", "found that an anchor has seen another record, and signs nothing"),
    Action.RECORD_ALTERED: ("bad", "followed the record, and it is not as it was sealed"),
    Action.RECORD_BREAK_PROPOSED: ("bad", "proposed to go on with the record after a break"),
    Action.RECORD_BREAK_CONFIRMED: ("bad", "confirmed that the record goes on after a break"),
    Action.SIGNING_KEY_ADDED: ("wait", "let another key sign the record"),
}
_BY_POLICY: Final[dict[str, str]] = {
    Action.REQUEST_APPROVED: "approved the request at once",
    Action.REQUEST_DENIED: "denied the request at once",
}
_VERDICTS: Final[dict[str, str]] = {verdict.value: str(verdict.label) for verdict in Review.Verdict}
_ACTORS: Final = {
    "policy": "The policy",
    "worker": "The portal",
    "clock": "The portal",
    "operator": "An operator on the server",
}
_LABELS: Final = {
    "reason": "Reason",
    "comment": "Comment",
    "ticket": "Ticket",
    "why": "Why",
    "problem": "Problem",
    "filters": "Limited rows",
}


@dataclass(frozen=True)
class Told:
    """One entry for a page. `texts` are (label, text); `path` leads to what it is about, where that has a page."""

    line: Line
    tone: str
    who: str
    what: str
    about: str
    path: str
    amount: str  # of what was asked for or left, where the entry has it: "(2 tables, 1 h)"
    texts: tuple[tuple[str, str], ...]
    life: str  # the page of all that the record tells of the request; empty where there is none


def tell(lines: Sequence[Line]) -> list[Told]:
    """Names are looked up together: a fixed number of queries for any number of entries."""
    people = _people(lines)
    things = _things(lines)
    return [_told(line, people, things) for line in lines]


def _told(line: Line, people: dict[str, str], things: dict[str, str]) -> Told:
    tone, what = _ACTS.get(line.action, ("", line.action.replace("_", " ").replace(".", ": ")))
    if line.action == Action.REQUEST_SUBMITTED and "extends" in line.facts:
        what = "asked for more time"
    if line.actor == "policy":
        what = _BY_POLICY.get(line.action, what)
    if line.action == Action.REVIEW_CLOSED:
        what = f"{what}: {_VERDICTS.get(str(line.facts.get('verdict')), 'no known verdict')}"
    who = _ACTORS.get(line.actor) or people.get(line.actor) or line.disclosed.get("person") or line.actor
    texts = [(_LABELS.get(name, _label(name)), text) for name, text in line.disclosed.items() if name != "person"]
    texts += [(_LABELS.get(name, _label(name)), "[erased]") for name in line.erased if name != "person"]
    return Told(
        line=line,
        tone=tone,
        who=who,
        what=what,
        about=people.get(line.subject) or things.get(line.subject) or line.subject,
        path=_path(line.subject),
        amount=_amount(line),
        texts=tuple(texts),
        life=_life(line),
    )


def _life(line: Line) -> str:
    kind, _, key = line.subject.partition(":")
    request = key if kind == "request" else line.facts.get("request") if kind == "grant" else ""
    if not isinstance(request, str) or not (request.isascii() and request.isalnum()):
        return ""
    return reverse("portal:record_life", args=[request])


def _amount(line: Line) -> str:
    tables, minutes = line.facts.get("table_count"), line.facts.get("minutes")
    if not isinstance(tables, int) or not isinstance(minutes, int):
        return ""
    return f"({tables} {'table' if tables == 1 else 'tables'}, {span(minutes)})"


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _path(subject: str) -> str:
    kind, _, key = subject.partition(":")
    # Whoever writes past the portal's code may call a subject anything.
    if kind in {"request", "grant"} and key.isascii() and key.isalnum():
        return reverse(f"portal:{kind}", args=[key])
    return ""


def _people(lines: Iterable[Line]) -> dict[str, str]:
    ids = _keys("user", (word for line in lines for word in (line.actor, line.subject)))
    return {user.audit_id: user.name for user in User.objects.filter(pk__in=ids)} if ids else {}


def _things(lines: Sequence[Line]) -> dict[str, str]:
    subjects = [line.subject for line in lines]
    databases, servers = _keys("database", subjects), _keys("server", subjects)
    named = {f"database:{pk}": f"database {slug}" for pk, slug in _names(Database, databases, "slug")}
    named |= {"portal:everything": "of everybody to everything", "portal:keys": "the portal's keys"}
    named |= {f"data_class:{key}": f"data class {key}" for key in _keys("data_class", subjects)}
    return named | {f"server:{pk}": f"server {name}" for pk, name in _names(Server, servers, "name")}


def _names(model: type[Database] | type[Server], keys: set[str], field: str) -> Iterable[tuple[str, str]]:
    return model._default_manager.filter(pk__in=keys).values_list("pk", field) if keys else ()


def _keys(kind: str, words: Iterable[str]) -> set[str]:
    return {key for found, _, key in (word.partition(":") for word in words) if found == kind}
