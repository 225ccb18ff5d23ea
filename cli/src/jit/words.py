"""Text from elsewhere, made safe for a terminal; times and spans in a person's words."""

import re
from datetime import UTC, datetime
from typing import Any

# Escape sequences in a reason or a value could rewrite what an approver believes to see; marks without a width hide in
# a name that looks like another, or turn it around; half a surrogate pair can be written nowhere.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)


def plain(value: Any) -> str:
    """One value as text that moves no cursor and turns no line around."""
    return _CONTROL.sub("�", str(value).replace("\r\n", "\n"))


def line(value: Any) -> str:
    """The same as part of a sentence: on a single line."""
    return " ".join(plain(value).split())


def cell(value: Any) -> str:
    """The same as a value: on a single line, and with its spaces. A line of its own could pass for another row."""
    return plain(value).replace("\n", "⏎")


def moment(text: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(text)


def clock(text: str | None) -> str:
    """A time of the API as this machine's clock shows it."""
    return moment(text).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z") if text else "-"


def seconds_left(text: str) -> float:
    return (moment(text) - datetime.now(UTC)).total_seconds()


def span(seconds: float) -> str:
    """`1 h 5 min`, `59 s`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


_MASKS = {
    "null": "always empty (null)",
    "email": "first letter and domain",
    "date(year)": "year only",
    "date(month)": "year and month only",
}
_CALL = re.compile(r"(partial|bucket)\((\d+)(?:, *(\d+))?\)")


def mask(text: str) -> str:
    """What a mask leaves to be seen, as the portal's pages say it; its own name where that is not known here."""
    found = _CALL.fullmatch(text)
    if found and found[1] == "bucket" and found[3] is None:
        return f"rounded down to a multiple of {int(found[2]):,}"
    if found and found[3] is not None:
        return " and ".join(
            _end(end, int(many)) for end, many in (("first", found[2]), ("last", found[3])) if int(many)
        )
    return _MASKS.get(text, line(text))


def _end(which: str, many: int) -> str:
    return f"{which} character" if many == 1 else f"{which} {many} characters"


def step(row: dict[str, Any]) -> str:
    """One step of a route: `1 of the owners`."""
    kinds = {"peer": "a peer", "owner": "an owner of the database", "data_owner": "an owner of the data"}
    who = f"the group {line(row['group'])}" if row.get("group") else kinds.get(row["kind"], line(row["kind"]))
    if row["needed"] > 1:
        who = f"{row['needed']} of {who}"
    return who


def waits_for(route: list[dict[str, Any]]) -> str:
    """Whose yes is missing, by name where the portal tells names."""
    for row in route:
        if len(row["approved_by"]) < row["needed"]:
            people = [line(name) for name in row.get("people", ())]
            more = row["eligible"] - len(people) - len(row["approved_by"])
            others = f" and {more} more" if people and more > 0 else ""
            names = f" ({', '.join(people)}{others})" if people else ""
            return f"{step(row)}{names}"
    return "the portal"
