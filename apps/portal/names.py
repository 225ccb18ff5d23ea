"""The box of table names: one on a line, or divided by commas outside of quotes."""

from collections.abc import Iterable, Iterator


def split(text: str) -> tuple[str, ...]:
    """Each name as typed, without the space around it, once, in order; `static/js/portal.js` does the same."""
    names = (name.strip() for line in text.splitlines() for name in _divided(line))
    return tuple(dict.fromkeys(name for name in names if name))


def joined(names: Iterable[str]) -> str:
    return "\n".join(dict.fromkeys(names))


def _divided(line: str) -> Iterator[str]:
    start, inside = 0, False
    for position, letter in enumerate(line):
        if letter == '"':
            inside = not inside
        elif letter == "," and not inside:
            yield line[start:position]
            start = position + 1
    yield line[start:]
