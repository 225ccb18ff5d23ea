"""Following a span of the record entry by entry: the chain, the bodies, the seals' words, the texts. No Django.

A stretch is looked at a column at a time, and that finds out only whether all is well. Whatever is not goes to the
slow judges of chain.py, body.py and checks.py, which have the sentences.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice, repeat, starmap
from operator import le, methodcaller
from struct import Struct
from typing import Any, Final, TypeAlias

from apps.audit import reader
from apps.audit.body import columns, read
from apps.audit.chain import Head, Sealed, commitment, verify_step
from apps.audit.checks import Lives, check_seal, check_texts, counts, listed_wrongly
from apps.audit.reader import FROM_2000, NO_CLOCK, Connection, Stretch, micros
from apps.core.errors import Invalid

Against: TypeAlias = tuple[int, str] | None  # a checkpoint from elsewhere: size, hex hash
IsListed: TypeAlias = Callable[[int, str | None, str, Mapping[str, Any]], bool]  # see checks.Lives
_LARGE: Final = object()  # in the place of a commitment: equal to none
SHOWN: Final = 200  # problems that are spelled out; the rest is counted
_BEFORE: Final = """
SELECT index, hash, recorded_at FROM audit.seal WHERE index >= %s AND index < %s ORDER BY index DESC LIMIT 1
"""
_FIRST: Final = "SELECT database FROM audit.seal WHERE subject = %s AND index < %s ORDER BY index LIMIT 1"
_numbers = Struct(">xqq").pack  # how a leaf begins: 0x00, be64(index), be64(recorded_at)
_digest = methodcaller("digest")


@dataclass
class Findings:
    """`count` entries were followed; of `erased` texts only what the entries commit to is left."""

    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    count: int = 0
    erased: int = 0

    def add(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.problem_count += 1
            if len(self.problems) < SHOWN:
                self.problems.append(sentence)

    def join(self, later: "Findings") -> None:
        self.problems += later.problems[: max(0, SHOWN - len(self.problems))]
        self.problem_count += later.problem_count
        self.count += later.count
        self.erased += later.erased


@dataclass(frozen=True, kw_only=True)
class Span:
    """Indexes from `first` up to, not including, `stop`, of a record that is followed from `start` on."""

    start: Head
    first: int
    stop: int
    against: Against = None


@dataclass(frozen=True)
class Followed:
    """From where to where: whoever joins spans holds the one's `begin` against the `end` of the one before."""

    begin: Head
    end: Head
    findings: Findings


def follow(connection: Connection, span: Span, progress: Callable[[int], None] | None = None) -> Followed:
    """`progress` is called with the size that is reached, after about as many entries as are read at once."""
    begin = reached = _before(connection, span)
    findings, told, lives = Findings(), begin.size, Lives(lambda *asked: _first(connection, *asked))
    for stretch in reader.stretches(connection, span.first, span.stop):
        reached = _follow(reached, stretch, span.against, lives, findings)
        findings.count += len(stretch)
        if progress is not None and reached.size >= told + reader.AT_ONCE:
            progress(told := reached.size)
    if progress is not None and reached.size > told:
        progress(reached.size)
    return Followed(begin, reached, findings)


def check_passed(reached: Head, against: Against) -> list[str]:
    """Whether the checkpoint, if it is just here, is what was written down."""
    if against is None or reached.size != against[0] or reached.hash.hex() == against[1].lower():
        return []
    return [f"The first {reached.size} entries are not those of the checkpoint: the record was rewritten."]


def _before(connection: Connection, span: Span) -> Head:
    """What the entry in front of a span claims: whoever follows that one finds out whether it is true."""
    found = reader.rows(connection, _BEFORE, span.start.size, span.first)
    if not found:
        return span.start
    ((index, digest, recorded_at),) = found
    return Head(size=index + 1, hash=digest, recorded_at=micros(recorded_at))


def _first(connection: Connection, subject: str, before: int) -> str | None:
    """What the first entry about a subject is listed under."""
    found = reader.rows(connection, _FIRST, subject, before)
    return found[0][0] if found else None


def _follow(head: Head, stretch: Stretch, against: Against, lives: Lives, findings: Findings) -> Head:
    if _links(head, stretch):
        _, recorded_at, _, digest, *_ = stretch.seals[-1]
        reached = Head(size=head.size + len(stretch), hash=digest, recorded_at=recorded_at + FROM_2000)
        if against is not None and head.size < against[0] <= reached.size:
            digest = stretch.seals[against[0] - head.size - 1][3]
            findings.add(check_passed(Head(size=against[0], hash=digest), against))
    else:
        reached = head
        for place in range(len(stretch)):
            reached = _step(reached, stretch, place, findings)
            findings.add(check_passed(reached, against))
    odd = _odd(stretch, lives)
    for place in sorted(odd):
        _judge(stretch, place, odd[place], findings)
    return reached


def _links(head: Head, stretch: Stretch) -> bool:
    """Whether every seal follows from its entry and from what stands before it: what chain.verify_step() asks, a column
    at a time. False also where that has not been found out.
    """
    indexes, times, names, digests = (tuple(column) for column in islice(zip(*stretch.seals, strict=True), 4))
    if indexes != tuple(range(head.size, head.size + len(stretch))):
        return False
    try:
        moments = [head.recorded_at, *map(FROM_2000.__add__, times)]
        if not all(map(le, moments, moments[1:])) or moments[1] <= -NO_CLOCK or moments[-1] >= NO_CLOCK:
            return False
        roles = {name: name.encode() + b"\0" for name in set(names)}
        sealed = zip(map(_numbers, indexes, moments[1:]), map(roles.get, names), stretch.bodies, strict=True)
        links = zip(repeat(b"\1", len(digests)), (head.hash, *digests[:-1]), _hashes(sealed), strict=True)
        return tuple(_hashes(links)) == digests
    except (AttributeError, TypeError):  # something is null
        return False


def _hashes(parts: Iterable[Iterable[Any]]) -> Iterator[bytes]:
    return map(_digest, map(sha256, map(b"".join, parts)))


def _odd(stretch: Stretch, lives: Lives) -> dict[int, IsListed]:
    """The places of entries that _judge() has to look at: all of which it is not certain here that they are well. With
    each goes how it is found out whether it is listed under its database, which depends on what stands in front of it.
    """
    held = columns([body or b"" for body in stretch.bodies])
    indexes, _, roles, _, actions, actors, subjects, ids, databases = zip(*stretch.seals, strict=True)
    odd = set(held.odd)
    listed = map(lives.is_listed, indexes, databases, held.subject, held.facts)
    unlisted = {place for place, is_well in enumerate(listed) if not is_well}
    odd |= unlisted
    odd |= _differing(held.action, actions) | _differing(held.actor, actors) | _differing(held.subject, subjects)
    if not all(starmap(counts, set(zip(actions, roles, strict=True)))):
        odd.update(range(len(stretch)))
    texts = [stretch.texts.get(entry_id, ()) for entry_id in ids]
    told = [
        {name: {"commit": _LARGE if value is None else commitment(salt, value)} for name, salt, value in one}
        for one in texts
    ]
    if sum(map(len, told)) < sum(map(len, texts)):  # there are two of one name
        odd.update(range(len(stretch)))
    odd |= _differing(held.disclosed, tuple(told))
    return {
        place: lives.is_listed_of_itself if place in held.odd else lambda *_, is_well=place not in unlisted: is_well
        for place in odd
    }


def _differing(some: tuple[Any, ...], others: tuple[Any, ...]) -> set[int]:
    if some == others:
        return set()
    return {place for place, (one, other) in enumerate(zip(some, others, strict=True)) if one != other}


def _step(head: Head, stretch: Stretch, place: int, findings: Findings) -> Head:
    index, recorded_at, recorded_by, digest = stretch.seals[place][:4]
    raw = stretch.body(place)
    reached, problems = verify_step(
        head,
        Sealed(
            index=index,
            recorded_at=micros(recorded_at),
            recorded_by=recorded_by or "",
            body=raw or b"",
            hash=digest or b"",
        ),
    )
    findings.add(problems)
    if raw is None:
        findings.add([f"Entry {index} is gone; only its seal is left."])
    return reached


def _judge(stretch: Stretch, place: int, is_listed: IsListed, findings: Findings) -> None:
    index, _, recorded_by, _, action, actor, subject, _, database = stretch.seals[place]
    raw, texts = stretch.body(place), stretch.texts_of(place)
    if raw is None:
        return
    try:
        body = read(raw)
    except Invalid as error:
        findings.add([f"Entry {index} was not written by the portal's code. {error.sentence}"])
        return
    findings.add(check_seal(index, (action, actor, subject), recorded_by, body))
    if not is_listed(index, database, body.subject, body.facts):
        findings.add([listed_wrongly(index)])
    findings.add(check_texts(index, texts, body))
    findings.erased += len(body.commitments.keys() - {name for name, _, _ in texts})
