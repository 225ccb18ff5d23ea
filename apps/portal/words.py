"""How the pages say it: spans of time, states, risk. Pure words, no queries."""

from datetime import datetime
from typing import Final

from apps.engines.base import Level, Operator
from apps.engines.masks import BadMask, Mask, MaskKind, parse
from apps.grants.models import LATE_AFTER, Grant
from apps.grants.states import ExtensionStatus, GrantStatus
from apps.policies.facts import RiskLevel, StepKind
from apps.policies.models import Connection
from apps.requests.states import RequestStatus

# Status -> (tone of the pill, words).
REQUEST_PILLS: Final[dict[str, tuple[str, str]]] = {
    RequestStatus.PENDING: ("wait", "Waiting"),
    RequestStatus.APPROVED: ("good", "Approved"),
    RequestStatus.DENIED: ("bad", "Denied"),
    RequestStatus.CANCELLED: ("off", "Taken back"),
    RequestStatus.LAPSED: ("off", "Lapsed"),
}
GRANT_PILLS: Final[dict[str, tuple[str, str]]] = {
    GrantStatus.QUEUED: ("work", "Being made"),
    GrantStatus.ACTIVE: ("good", "Live"),
    GrantStatus.ENDING: ("work", "Ending"),
    GrantStatus.ENDED: ("off", "Ended"),
    GrantStatus.FAILED: ("bad", "Failed"),
}
EXTENSION_PILLS: Final[dict[str, tuple[str, str]]] = {
    ExtensionStatus.QUEUED: ("work", "Being added"),
    ExtensionStatus.APPLIED: ("good", "Added"),
    ExtensionStatus.FAILED: ("bad", "Failed"),
}
LATE_PILL: Final = ("late", "Late: not ended yet")

LEVELS: Final[dict[str, tuple[str, str]]] = {
    Level.QUERY: ("Read", "Look at rows; change nothing."),
    Level.EXPORT: ("Read and export", "Take data along without a cap. Weighs more."),
    Level.CHANGE: ("Change", "Insert, update and delete rows. Weighs most."),
}
CONNECTIONS: Final[dict[str, tuple[str, str]]] = {
    Connection.DIRECT: (
        "With a credential of your own",
        "For psql, DBeaver or an ORM. Row caps and download limits cannot hold there, so it adds to the risk.",
    ),
    Connection.CONSOLE: (
        "In the portal's console",
        "Run SQL in the browser, or by the jit command. Row caps hold, each statement is recorded.",
    ),
}
RISK_BARS: Final[dict[str, int]] = {level: number for number, level in enumerate(RiskLevel, start=1)}
RISK_FACTORS: Final[dict[str, str]] = {
    "environment": "Environment",
    "level": "Level",
    "classification": "Classified data",
    "unmask": "Unmasked columns",
    "unclassified": "Nobody has classified it",
    "direct": "Own credential",
    "whole_schema": "Whole schema",
    "duration": "Duration",
    "break_glass": "Glass broken",
}

MASKS: Final[dict[MaskKind, str]] = {
    MaskKind.HIDDEN: "hidden",
    MaskKind.NULL: "always empty (null)",
    MaskKind.PARTIAL: "first and last characters",
    MaskKind.EMAIL: "first letter and domain",
    MaskKind.BUCKET: "rounded down",
    MaskKind.DATE: "year only",
}
DATA_CLASSES: Final[dict[str, str]] = {"email": "e-mail", "iban": "IBAN", "ip_address": "IP address"}
OPERATORS: Final[dict[str, str]] = {
    Operator.EQUAL: "is (=)",
    Operator.UNEQUAL: "is not (<>)",
    Operator.LESS: "is less than (<)",
    Operator.AT_MOST: "is at most (<=)",
    Operator.MORE: "is more than (>)",
    Operator.AT_LEAST: "is at least (>=)",
    Operator.ONE_OF: "is one of",
    Operator.IS_NULL: "is empty (null)",
    Operator.IS_NOT_NULL: "is not empty",
}


def span(minutes: int) -> str:
    """`45 min`, `8 h`, `1 h 30 min`, `2 days 3 h`."""
    days, rest = divmod(minutes, 24 * 60)
    hours, rest = divmod(rest, 60)
    parts = [
        (days, "day" if days == 1 else "days"),
        (hours, "h"),
        (rest, "min"),
    ]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 min"


def remaining(until: datetime, now: datetime) -> str:
    """What a countdown says: `2 days 3 h`, `1:04:09`, `4:09`; `static/js/portal.js` says the same."""
    seconds = max(0, int((until - now).total_seconds()))
    if seconds >= 48 * 3600:
        return span(seconds // 60 // 60 * 60)
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def step(kind: str, group: str | None, needed: int) -> str:
    """Who a step of the route asks."""
    if kind == StepKind.GROUP:
        who = {"one": f"somebody of {group}", "many": f"people of {group}"}
    elif kind == StepKind.OWNER:
        who = {"one": "an owner of the database", "many": "owners of the database"}
    elif kind == StepKind.DATA_OWNER:
        who = {"one": "the data owner", "many": "data owners"}
    else:
        who = {"one": "a peer", "many": "peers"}
    return who["one"] if needed == 1 else f"{needed} {who['many']}"


def mask(text: str) -> str:
    """What a mask leaves to be seen: `first letter and domain`, `hidden`, `year only`."""
    try:
        given = parse(text)
    except BadMask:
        return text
    said = MASKS[given.kind]
    match given:
        case Mask(MaskKind.PARTIAL, (int(first), int(last))):
            said = _ends(first, last)
        case Mask(MaskKind.BUCKET, (int(width),)):
            said = f"rounded down to a multiple of {width:,}"
        case Mask(MaskKind.DATE, ("month",)):
            said = "year and month only"
    return said


def _ends(first: int, last: int) -> str:
    parts = [
        f"{end} character" if number == 1 else f"{end} {number} characters"
        for end, number in (("first", first), ("last", last))
        if number
    ]
    return " and ".join(parts)


def data_class(name: str) -> str:
    return DATA_CLASSES.get(name, name.replace("_", " "))


def kind_of_data(level: str, data_class_name: str) -> str:
    """`confidential, e-mail`."""
    return ", ".join(filter(None, [level or "not classified", data_class(data_class_name)]))


def is_late(grant: Grant, now: datetime) -> bool:
    """Access that should be gone and has not been proven to be; also where nobody has even begun to end it."""
    due = {GrantStatus.ENDING: grant.ending_since, GrantStatus.ACTIVE: grant.expires_at}.get(GrantStatus(grant.status))
    return due is not None and now - due > LATE_AFTER
