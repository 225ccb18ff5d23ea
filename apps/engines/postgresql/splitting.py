"""Where one statement of a text ends and the next begins, and what is refused before the server is asked. Pure.

This is the lexer of psql, no parser: it knows quotes, comments, dollar quotes and parentheses, and nothing else. It is
a courtesy. What a login may do is for the database to say, and two statements in one are refused by the server itself.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n\r]*|/\*)
    | (?P<string>[eE]'(?:[^'\\]|''|\\.)*'?
        # It goes on behind a line break, where what follows is read as its first piece is.
        (?:(?<=')[ \t\f\v]*+(?:--[^\n\r]*+)?[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+'(?:[^'\\]|''|\\.)*'?)*
      | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*'?)
    | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*"?)
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?\$)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
    | (?P<number>\d[\w.]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SPEAKS_OF_NOTIFYING: Final = re.compile(r"\b(?:listen|notify|pg_notify)\b", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\(?:\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")
_NESTING: Final = re.compile(r"/\*|\*/")

# They change rows and say of none how many.
UNCOUNTABLE: Final = frozenset({"DO", "CALL", "TRUNCATE"})
_WHOLE_TRANSACTION: Final = frozenset(
    {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE TRANSACTION"}
)


class Kind(Enum):
    SPACE = auto()
    COMMENT = auto()
    STRING = auto()
    QUOTED = auto()
    WORD = auto()
    NUMBER = auto()
    OTHER = auto()


_NAMES: Final = frozenset({Kind.WORD, Kind.QUOTED})


@dataclass(frozen=True)
class Token:
    kind: Kind
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Statement:
    """`offset`: where it begins in the text, in characters."""

    text: str
    offset: int

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """Without space and comments."""
        return tuple(one for one in tokens(self.text) if one.kind not in {Kind.SPACE, Kind.COMMENT})

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The unquoted words in upper case."""
        return tuple(one.text.upper() for one in self.tokens if one.kind is Kind.WORD)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name in it as the server folds it, quoted or not."""
        return frozenset(_folded(one) for one in self.tokens if one.kind in _NAMES)

    @cached_property
    def dotted(self) -> tuple[tuple[str, str], ...]:
        """Two names with a dot between, as the server folds them: `schema.table`, and `table.column` as well."""
        three = zip(self.tokens, self.tokens[1:], self.tokens[2:], strict=False)
        return tuple(
            (_folded(one), _folded(other))
            for one, dot, other in three
            if dot.text == "." and one.kind in _NAMES and other.kind in _NAMES
        )


def tokens(text: str) -> Iterator[Token]:
    position = 0
    while (found := _TOKEN.match(text, position)) is not None:
        kind, end = found.lastgroup or "other", found.end()
        if found.group() == "/*":
            end, is_closed = _end_of_comment(text, end)
            kind = "comment" if is_closed else "other"  # so that the server says what is missing
        elif kind == "dollar":
            closing = text.find(found.group(), end)
            end = len(text) if closing < 0 else closing + len(found.group())
            kind = "string"
        yield Token(Kind[kind.upper()], position, end, text[position:end])
        position = end


def split(text: str) -> list[Statement]:
    """Its statements, without surrounding space, comments and semicolons. A text that says nothing has none."""
    found, depth, start, end = [], 0, None, 0
    for one in tokens(text):
        if one.kind in {Kind.SPACE, Kind.COMMENT}:
            continue
        if one.text == ";" and depth <= 0:
            if start is not None:
                found.append(Statement(text[start:end], start))
            start, depth = None, 0
            continue
        depth += (one.text in {"(", "["}) - (one.text in {")", "]"})
        start, end = one.start if start is None else start, one.end
    if start is not None:
        found.append(Statement(text[start:end], start))
    return found


def refusal(statement: Statement) -> str:
    """Why the console does not run it, as a sentence; empty where it does."""
    words = statement.words
    if not words:
        return ""
    first = words[0]
    reasons = {
        f"{first} is not for statements to say here: the console has buttons of its own for transactions.": (
            first in _WHOLE_TRANSACTION or " ".join(words[:2]) in _WHOLE_TRANSACTION
        ),
        "Whom statements run as does not change: they run as the login of this grant.": (
            first in {"SET", "RESET"} and _changes_who(words[1:])
        ),
        "DISCARD is not run here: every run has a session of its own, and leaves nothing to discard.": (
            first == "DISCARD"
        ),
        "LISTEN and NOTIFY are refused here: what is told by them passes by every mask.": (
            first in {"LISTEN", "UNLISTEN", "NOTIFY"}
            or "pg_notify" in statement.names
            or (first == "DO" and _SPEAKS_OF_NOTIFYING.search(statement.text) is not None)
        ),
        "set_config() is not called here: say SET, so that it can be seen what is set.": (
            "set_config" in statement.names
        ),
        "COPY is not run here: export gives the rows of a query as a file, and programs are never started.": (
            first == "COPY"
        ),
    }
    return next((sentence for sentence, applies in reasons.items() if applies), "")


def without_literals(text: str) -> str:
    """The text with $ in the place of each string and number, and without its comments."""
    shown = {Kind.STRING: "$", Kind.NUMBER: "$", Kind.COMMENT: " "}
    return "".join(shown.get(one.kind, one.text) for one in tokens(text))


def _changes_who(words: tuple[str, ...]) -> bool:
    rest = words[1:] if words[:1] in {("SESSION",), ("LOCAL",)} and words[1:2] != ("AUTHORIZATION",) else words
    return rest[:1] == ("ROLE",) or "AUTHORIZATION" in words[:3] or rest[:1] == ("SESSION_AUTHORIZATION",)


def _folded(one: Token) -> str:
    return one.text.lower() if one.kind is Kind.WORD else _name(one.text)


def _name(quoted: str) -> str:
    """Of an identifier in quotes, also of one that is written by codes: U&"\\0070g_notify"."""
    name = quoted.removeprefix("U&").removeprefix("u&").strip('"').replace('""', '"')
    if quoted.startswith('"'):
        return name
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16) % 0x110000), name)


def _end_of_comment(text: str, position: int) -> tuple[int, bool]:
    depth = 1
    for found in _NESTING.finditer(text, position):
        depth += 1 if found.group() == "/*" else -1
        if depth == 0:
            return found.end(), True
    return len(text), False
