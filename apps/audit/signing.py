"""Signing the head of the record, minute by minute, and comparing it with what anchors have seen before.

Only a worker has the key. A history that is shorter than, or another than, one that was signed is never signed: that
is a break, which stops signing until two people have agreed to go on (apps.grants.record_break).
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from apps.audit import notes, trail
from apps.audit.actions import Action
from apps.audit.anchors import Anchor, AnchorError, NotOurs, anchor_at
from apps.audit.canonical import Json
from apps.audit.chain import Head, leaf, micros
from apps.audit.models import AnchorState, Checkpoint, RecordBreak, Seal, SigningKey
from apps.audit.notes import Key, Signer, read_key
from apps.audit.services import RECORD, record
from apps.core import clock
from apps.core.errors import Conflict, Invalid
from apps.core.nudge import nudge
from apps.core.verbs import verb

log = logging.getLogger(__name__)

WORKER: Final = "worker"
OURSELVES: Final = "the portal's own checkpoints"
QUIET: Final = timedelta(hours=1)  # without activity a checkpoint is signed so often
_LONGEST_ERROR: Final = 500


class KeyRange(NamedTuple):
    """A verifier key and the sizes that it is good for; the newest has no last one."""

    key: str
    from_size: int
    to_size: int | None


class Seen(NamedTuple):
    """A history that somebody remembers."""

    anchor: str
    size: int
    hash: bytes


class Answer(NamedTuple):
    """What an anchor says when it is asked: the note that it holds and what that tells, or why there is none."""

    anchor: Anchor
    note: str | None = None
    seen: Seen | None = None
    error: AnchorError | None = None


class Memories(NamedTuple):
    """What the portal and its anchors remember of the record: what of that is here; in sentences what is not, what two
    people have agreed to go on without, and who could not be asked.
    """

    here: tuple[Seen, ...]
    lost: tuple[str, ...]
    given_up: tuple[str, ...]
    silent: tuple[str, ...]


def read_signing_key() -> Signer | None:
    """From the file of the settings; None where this process has none. Raises Invalid, in a sentence."""
    if not settings.SIGNING_KEY_FILE:
        return None
    path = Path(settings.SIGNING_KEY_FILE)
    try:
        if path.stat().st_mode & 0o077:
            raise Invalid(f"Others may read the signing key {path}: chmod 600 it, or make a new one.")
        return notes.read_signer(path.read_text(encoding="ascii"))
    except (OSError, UnicodeError) as error:
        raise Invalid(f"The signing key {path} cannot be read ({error}).") from error


def anchors() -> list[Anchor]:
    """Those of the settings. Raises ImproperlyConfigured."""
    return [anchor_at(address) for address in settings.ANCHORS]


def sign_due() -> Checkpoint | None:
    """What a worker does each minute: compare, sign if there is anything to sign, and let every anchor know.

    Returns the checkpoint that was made, if any.
    """
    signer = read_signing_key()
    if signer is None:
        return None
    seen = compare(anchors(), known_keys(signer))
    if seen is None:
        return None
    made = _sign(signer)
    newest = Checkpoint.objects.last()
    if newest is not None:
        for anchor, note in seen:
            _bring_up(anchor, newest, note)
    return made


def known_keys(signer: Signer) -> list[Key]:
    """Of every note that this portal has signed: also of a newer one that a restored database does not know."""
    return [*{read_key(row.key) for row in SigningKey.objects.all()} | {signer.key}]


def compare(known: Iterable[Anchor], keys: list[Key]) -> list[tuple[Anchor, str | None]] | None:
    """The anchors that could be read, with the note that each holds; None while a break waits to be confirmed.

    What an anchor has seen must be part of the record here. If it is not, that is recorded.
    """
    answers = [_asked(anchor, keys) for anchor in known]
    for answer in answers:
        if answer.error is not None:
            _failed(answer.anchor, str(answer.error))
    for seen in [*_our_own(), *filter(None, (answer.seen for answer in answers))]:
        if not _is_here(seen) and not _is_confirmed(seen):
            _found(seen)
    readable = [(answer.anchor, answer.note) for answer in answers if answer.error is None]
    return None if RecordBreak.objects.filter(confirmed_at=None).exists() else readable


def memories() -> Memories:
    """Everybody who remembers, asked now, for whoever verifies; nothing is written. Raises ImproperlyConfigured.

    An anchor that answers with what is not ours is as good as lost: a record that was put in the place of another one
    does not know the keys of that.
    """
    keys = [read_key(row.key) for row in SigningKey.objects.all()]
    with suppress(Invalid):  # without it what it has signed is not ours: better one finding too many
        signer = read_signing_key()  # a database that was restored may know none, or an older one
        keys = known_keys(signer) if signer else keys
    answers = [_asked(anchor, keys) for anchor in anchors()]
    found = [*_our_own(), *filter(None, (answer.seen for answer in answers))]
    lost = [f"{answer.anchor.address}: {answer.error}" for answer in answers if isinstance(answer.error, NotOurs)]
    silent = list(filter(None, map(_why_silent, answers)))
    here = [seen for seen in found if _is_here(seen)]
    gone = [seen for seen in found if seen not in here]
    agreed = [seen for seen in gone if _is_confirmed(seen)]
    lost += [_told(seen, trail.head()) for seen in gone if seen not in agreed]
    given_up = [
        f"{seen.anchor} has seen {seen.size} entries that are not here: two people have agreed to go on without them."
        for seen in agreed
    ]
    return Memories(tuple(here), tuple(lost), tuple(given_up), tuple(silent))


@verb
def add_key(key: Key, *, actor: str) -> SigningKey:
    """From now on this key signs; the one before stays good for what it has signed. Raises Conflict."""
    if SigningKey.objects.filter(key=str(key)).exists():
        raise Conflict("This key is known already: a key that was replaced does not come back. Make a new one.")
    made = SigningKey(key=str(key), from_size=trail.head().size, added_at=clock.now())
    if not SigningKey.objects.exists():
        made.from_size = 0
    made.save(force_insert=True)
    facts: dict[str, Json] = {"key": str(key), "from_size": made.from_size}
    record(Action.SIGNING_KEY_ADDED, actor=actor, subject=RECORD, facts=facts)
    return made


def key_ranges() -> list[KeyRange]:
    """All keys in their order, for whoever checks checkpoints. Two may overlap: one was signing as the other came."""
    rows = list(SigningKey.objects.order_by("pk").annotate(signed=Max("checkpoints__size", default=0)))
    ends = [max(next_one.from_size, row.signed) for row, next_one in pairwise(rows)]
    return [KeyRange(row.key, row.from_size, end) for row, end in zip(rows, [*ends, None], strict=True)]


def signing_key() -> str:
    """The verifier key that signs now, for whoever wants to pin it; empty where nothing is signed."""
    newest = SigningKey.objects.last()
    return newest.key if newest is not None else ""


def newest_checkpoint() -> Checkpoint | None:
    return Checkpoint.objects.last()


def open_breaks() -> list[RecordBreak]:
    """Histories that somebody remembers, and that are not the one here."""
    return list(RecordBreak.objects.filter(confirmed_at=None))


def _sign(signer: Signer) -> Checkpoint | None:
    if not SigningKey.objects.exists():
        with suppress(Conflict, IntegrityError):  # another worker was faster
            add_key(signer.key, actor=WORKER)
    newest = SigningKey.objects.last()
    if newest is None or newest.key != str(signer.key):
        log.error("The signing key %s was replaced: give this worker the new one.", signer.key)
        return None
    return _signed(signer, newest)


@verb
def _signed(signer: Signer, key: SigningKey) -> Checkpoint | None:
    now, head, last = clock.now(), trail.head(), Checkpoint.objects.last()
    if head.size == 0 or (last is not None and last.size == head.size and now - last.at < QUIET):
        return None
    if SigningKey.objects.last() != key or RecordBreak.objects.filter(confirmed_at=None).exists():
        return None
    note = notes.signed(notes.Checkpoint(settings.AUDIT_ORIGIN, head.size, head.hash), signer)
    return Checkpoint.objects.create(size=head.size, hash=head.hash, note=note, at=now, key=key)


def _our_own() -> list[Seen]:
    last = Checkpoint.objects.last()
    return [Seen(OURSELVES, last.size, bytes(last.hash))] if last is not None else []


def _asked(anchor: Anchor, keys: list[Key]) -> Answer:
    has_succeeded = AnchorState.objects.filter(pk=anchor.address).exclude(succeeded_at=None).exists()
    try:
        note = anchor.last(is_new=not has_succeeded)
        found = _believed(note, keys) if note is not None else None
    except AnchorError as error:
        return Answer(anchor, error=error)
    return Answer(anchor, note, Seen(anchor.address, found.size, found.hash) if found is not None else None)


def _why_silent(answer: Answer) -> str | None:
    """None where it has answered, if only with what is not ours."""
    if answer.seen is not None or isinstance(answer.error, NotOurs):
        return None
    why = f"could not be asked: {answer.error}" if answer.error is not None else "holds nothing yet."
    return f"{answer.anchor.address} {why}"


def _believed(note: str, keys: list[Key]) -> notes.Checkpoint:
    try:
        found, _ = notes.opened(note, keys)
    except Invalid as refusal:
        raise NotOurs(f"What it holds is not ours. {refusal.sentence}") from refusal
    if found.origin != settings.AUDIT_ORIGIN:
        raise NotOurs(f"It holds a checkpoint of another record: of {found.origin!a}.")
    return found


def _is_here(seen: Seen) -> bool:
    if seen.size == 0:
        return True
    return trail.hash_at(seen.size - 1) == seen.hash


def _is_confirmed(seen: Seen) -> bool:
    """Two people have agreed to go on although this was lost."""
    rows = RecordBreak.objects.filter(anchor=seen.anchor, size_there=seen.size, hash_there=seen.hash.hex())
    return rows.exclude(confirmed_at=None).exists()


@verb
def _found(seen: Seen) -> None:
    """Idempotent: the same break is told once."""
    head = trail.head()
    why = f"{_told(seen, head)} Nothing is signed until two people have confirmed it."
    made = RecordBreak(
        found_at=clock.now(),
        anchor=seen.anchor,
        size_there=seen.size,
        hash_there=seen.hash.hex(),
        size_here=head.size,
        hash_here=head.hash.hex(),
        why=why,
    )
    try:
        with transaction.atomic():  # a savepoint: it may be told already
            made.save(force_insert=True)
    except IntegrityError:
        return
    log.critical("%s", why)
    record(Action.RECORD_BROKEN, actor=WORKER, subject=f"record_break:{made.pk}", facts=facts_of(made))
    nudge()


def _told(seen: Seen, head: Head) -> str:
    how = "is shorter" if head.size < seen.size else "is another one"
    return f"The record here {how}: {seen.anchor} has seen {seen.size} entries with another end than theirs."


def facts_of(found: RecordBreak) -> dict[str, Any]:
    """What entries about a break say: what is lost lies between the two."""
    names = ("anchor", "size_there", "hash_there", "size_here", "hash_here")
    return {name: getattr(found, name) for name in names}


def _bring_up(anchor: Anchor, newest: Checkpoint, note: str | None) -> None:
    """What it missed meanwhile is in the newest one."""
    try:
        if note != newest.note:
            anchor.put(newest.note, newest.size, _leaves)
    except AnchorError as error:
        _failed(anchor, str(error))
        return
    said = {"size": newest.size, "succeeded_at": clock.now(), "failed_at": None, "error": ""}
    AnchorState.objects.update_or_create(pk=anchor.address, defaults=said)


def _failed(anchor: Anchor, why: str) -> None:
    log.warning("The anchor %s is behind: %s", anchor.address, why)
    state, _ = AnchorState.objects.get_or_create(pk=anchor.address)
    state.failed_at = state.failed_at or clock.now()
    state.error = why[:_LONGEST_ERROR]
    state.save(update_fields=["failed_at", "error"])


def _leaves(first: int, end: int) -> bytes:
    """The leaf hashes of these entries, one after another: for a witness that follows the chain itself."""
    rows = Seal.objects.filter(index__gte=first, index__lt=end).order_by("index")
    told = rows.values_list("index", "recorded_at", "recorded_by", "entry__body")
    return b"".join(
        leaf(index=index, recorded_at=micros(at), recorded_by=by, body=bytes(body)) for index, at, by, body in told
    )
