"""Which data class a column may hold, from its name, its comment, its type and a few of its values. No I/O.

A suggestion is for a person to accept or to dismiss. Its sentence holds counts, never a value.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from apps.catalog import detection_words as known
from apps.catalog.detection_values import Found, recognise
from apps.catalog.detection_words import Kind

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SMALL: Final = frozenset(known.SMALL.replace(",", " ").split())
_LONGEST: Final = 6  # words of a phrase
_LONGEST_NAME: Final = 20  # words of a name that are looked at
_SUFFIX: Final = 8  # letters of a phrase that is also found at the end of a longer word: kundennachname
_SHORTEST: Final = 5  # of the few others that are
_SHORT_COMMENT: Final = 6  # words: a longer one tells of much


class Family(StrEnum):
    """Types, as far as they tell what a column cannot hold."""

    TEXT = "text"  # also enums, domains and what is not known
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    BINARY = "binary"
    JSON = "json"
    NETWORK = "network"
    POINT = "point"
    UUID = "uuid"
    OTHER = "other"


_FAMILIES: Final = {
    **dict.fromkeys(
        ("smallint", "integer", "bigint", "numeric", "real", "double precision", "money", "decimal"), Family.NUMBER
    ),
    **dict.fromkeys(("date", "timestamp without time zone", "timestamp with time zone"), Family.DATE),
    **dict.fromkeys(("inet", "cidr", "macaddr", "macaddr8"), Family.NETWORK),
    **dict.fromkeys(("json", "jsonb", "hstore", "xml"), Family.JSON),
    **dict.fromkeys(("point", "geometry", "geography"), Family.POINT),
    **dict.fromkeys(
        ("interval", "time without time zone", "time with time zone", "oid", "bit", "bit varying", "tsvector"),
        Family.OTHER,
    ),
    "uuid": Family.UUID,
    "boolean": Family.BOOLEAN,
    "bytea": Family.BINARY,
}
_TELLING: Final = frozenset({Family.TEXT, Family.NUMBER, Family.NETWORK})


@dataclass(frozen=True)
class Suggestion:
    """What a column may be classified as. The words are those of the catalog."""

    classification: str  # confidential | restricted
    data_class: str
    why: str


def suggest(*, table: str, column: str, type_: str, comment: str = "", values: Sequence[str] = ()) -> Suggestion | None:
    """None where nothing points to personal data. `values` are of one column, without NULLs."""
    family = _family(type_)
    named, whence = _named(table, column, type_, comment, family)
    found = _recognised(values, family, _words(column), named.data_class if named else "")
    if found is None:
        return None if named is None else _suggestion(named, f"{whence} of {named.spoken}.")
    kind = _BY_CLASS[found.data_class]
    if named is None:
        return _suggestion(kind, f"{_counted(found)}.")
    if named is kind:
        return _suggestion(kind, f"{whence} of {kind.spoken}, and {_counted(found)}.")
    stricter = named if named.restricted and not kind.restricted else kind
    return _suggestion(stricter, f"{whence} of {named.spoken}, but {_counted(found)}.")


def tells_by_values(type_: str) -> bool:
    """Whether values of such a type are worth a look."""
    return _family(type_) in _TELLING


def _recognised(values: Sequence[str], family: Family, words: list[str], named: str) -> Found | None:
    if family not in _TELLING:
        return None
    return recognise(values, number=family is Family.NUMBER, words=words, named=named)


def _suggestion(kind: Kind, why: str) -> Suggestion:
    return Suggestion("restricted" if kind.restricted else "confidential", kind.data_class, why)


def _counted(found: Found) -> str:
    return f"{found.hits} of {found.distinct} different sampled values are {found.spoken}"


def _family(type_: str) -> Family:
    base = type_.split("(", maxsplit=1)[0].removesuffix("[]").strip()
    if ")" in type_:  # timestamp(3) with time zone
        base += type_.rsplit(")", 1)[1].removesuffix("[]")
    return _FAMILIES.get(base.rsplit(".", 1)[-1], Family.TEXT)


def _named(table: str, column: str, type_: str, comment: str, family: Family) -> tuple[Kind | None, str]:
    """The kind that the words around a column speak of, and which of them do."""
    people = _is_of_people(_words(table))
    if kind := _match(_words(column), family, people):
        return kind, "Its name speaks"
    if "." in type_ and (kind := _match(_words(type_.split(".", 1)[1]), family, people)):
        return kind, "The name of its type speaks"
    said = _words(comment)
    if len(said) <= _SHORT_COMMENT and "not" not in said and (kind := _match(said, family, people)):
        return kind, "Its comment speaks"
    return None, ""


def _words(text: str) -> list[str]:
    """Lower-case words without accents, small words and digits: `DateDeNaissance2` is date, naissance."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ø", "o"))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    words = (found.lower() for found in _WORD.findall(letters))
    return [word for word in words if word not in _SMALL][:_LONGEST_NAME]


def _match(words: list[str], family: Family, people: bool) -> Kind | None:
    """The kind of the longest phrase in these words that a column of such a type can hold."""
    if not words:
        return None
    whole = "".join(words)
    alone = _find(_WHOLE, whole) or (_find(_OF_PEOPLE, whole) if people else None)
    spans = sorted(_spans(words), key=lambda span: len(span[0]), reverse=True)
    for text, start, end in [(whole, 0, len(words)), *spans]:
        kind = alone if text is whole and alone else _find(_PHRASES, text)
        if kind is None:
            continue
        return kind if _means(kind, words, start, end, family) else None
    return _ending(words, family)


def _spans(words: list[str]) -> Iterator[tuple[str, int, int]]:
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
            yield "".join(words[start:end]), start, end


def _ending(words: list[str], family: Family) -> Kind | None:
    """Of languages that write words together: the longest phrase at the end of one."""
    for at, word in enumerate(words):
        for start in range(1, len(word) - _SHORTEST + 1):
            kind = _ENDINGS.get(word[start:])
            if kind and _means(kind, words, at, at + 1, family):
                return kind
    return None


def _means(kind: Kind, words: list[str], start: int, end: int, family: Family) -> bool:
    """Not where email_sent, is_email or phone_type speak about it, nor where the type cannot hold it."""
    if kind.types == "any":  # whether somebody is ill is itself what must not be known
        return _ABOUT.isdisjoint(words[end:])
    asked = start > 0 and words[0] in _ASKING
    return family.value in kind.types.split() and not asked and _ABOUT.isdisjoint(words[end:])


def _is_of_people(words: list[str]) -> bool:
    while len(words) > 1 and _singulars(words[-1]) & _DETAILS:
        words = words[:-1]
    return bool(words) and bool(_singulars(words[-1]) & _PEOPLE)


def _singulars(word: str) -> set[str]:
    return {word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("i") + "e"}


def _find(phrases: dict[str, Kind], text: str) -> Kind | None:
    return phrases.get(text) or phrases.get(text.removesuffix("s")) or phrases.get(text.removesuffix("es"))


def _joined(phrases: str) -> Iterator[str]:
    for phrase in phrases.split(","):
        if words := _words(phrase):
            yield "".join(words)


def _index(field: str) -> dict[str, Kind]:
    return {phrase: kind for kind in known.KINDS for phrase in _joined(getattr(kind, field))}


_NEUTRAL: Final = Kind("", False, "", "", "")
_BY_CLASS: Final = {kind.data_class: kind for kind in known.KINDS}
_PEOPLE: Final = frozenset(_joined(known.PEOPLE))
_DETAILS: Final = frozenset(_joined(known.DETAILS))
_ABOUT: Final = frozenset(_joined(known.ABOUT))
_ASKING: Final = frozenset(_joined(known.ASKING))
_WHOLE: Final = _index("whole")
_OF_PEOPLE: Final = _index("of_people")
_PHRASES: Final = (
    {pair: _BY_CLASS["name"] for one in _PEOPLE for word in known.NAME_WORDS for pair in (one + word, word + one)}
    | _index("phrases")
    | dict.fromkeys(_joined(known.NEUTRAL), _NEUTRAL)
)
_ENDINGS: Final = {
    phrase: kind
    for phrase, kind in _PHRASES.items()
    if len(phrase) >= _SUFFIX and kind.data_class not in {"", "free_text"}
} | {phrase: _PHRASES[phrase] for phrase in _joined(known.ENDINGS)}
