"""Why an event was or was not written to the streams of a user.

Knows records and the lives of streams. Does not know where they come from.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..events import address
from ..events.address import BROADCAST, Address
from ..events.channel_patterns import heard_at
from ..events.record import Cursor, Record
from ..hub.clients.journal import StreamLife
from ..metrics.lives import FoundLives

WRITTEN = "written"
READ = "read"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fate of an event in one stream.

    ``outcome`` is a word for programs: ``written``, ``read``, ``waiting``,
    ``not_listening``, ``excluded``, ``not_open``, ``ended``, ``reset`` or
    ``other_log``.
    """

    worker: int
    stream: str
    opened: float
    ended: float | None
    outcome: str
    text: str


def verdicts(record: Record, found: Iterable[FoundLives]) -> list[Verdict]:
    """Return the fate of an event in each stream, the earliest stream first."""
    every = []
    for each in found:
        for life in each.lives:
            outcome, text = _fate(record, life)
            every.append(
                Verdict(each.worker, life.id, life.opened, life.ended, outcome, text)
            )
    return sorted(every, key=lambda verdict: verdict.opened)


def heard_by(record: Record, user: str) -> list[Address]:
    """Return the addresses of an event that concern a user, or may do so.

    Those of sessions and clients concern the users that they belong to.
    """
    others = address.user(user)
    return [
        each
        for each in record.addresses
        if each in (BROADCAST, others) or not each.startswith(others[:2])
    ]


def _fate(record: Record, life: StreamLife) -> tuple[str, str]:
    begun, last = Cursor.parse(life.begun), Cursor.parse(life.last)
    place = record.cursor
    if begun is None or last is None or {begun.epoch, last.epoch} != {place.epoch}:
        return "other_log", "it followed another log: an earlier or a replaced one"
    if begun.offset >= place.offset:
        if life.reset is not None:
            return "reset", f"it was reset ({life.reset}), and its page loads anew"
        if life.resumed:
            return READ, (
                "its page named a later last event id: it had received the event, or"
                " loaded its state after it"
            )
        return "not_open", "it began after the event"
    if set(heard_at(record.addresses)).isdisjoint(life.addresses):
        return "not_listening", "it does not listen to the event's target"
    if life.id in record.exclude:
        return "excluded", "the event was published with exclude= for it"
    if last.offset >= place.offset:
        return WRITTEN, _written(record, life)
    if life.ended is not None:
        return "ended", f"it ended ({life.reason}) before the event was written"
    lag = f", {life.lag:.1f} s by now" if life.lag else ""
    return "waiting", f"it is lagging{lag}: its last event is {life.last}"


def _written(record: Record, life: StreamLife) -> str:
    if life.opened > record.time:
        return "written after the stream resumed"
    if life.reason in ("client_gone", "stalled"):
        return f"written; the stream ended later ({life.reason}), perhaps unread"
    return "written"


def unknown(
    record: Record, found: Sequence[FoundLives], *, silent: bool, elsewhere: bool
) -> list[str]:
    """Return why there may be streams that the workers did not tell of.

    ``silent`` tells whether a worker gave no answer, ``elsewhere`` whether other
    machines may have workers.
    """
    reasons = {
        "no worker answers here": not found,
        "a worker gave no answer": silent,
        "a worker that began later, or forgot, knows no earlier streams": any(
            each.since > record.time for each in found
        ),
        "the user has too many streams for one answer": any(
            each.is_cut for each in found
        ),
        "other machines were not asked: run this command there too": elsewhere,
    }
    return [reason for reason, holds in reasons.items() if holds]


def conclusion(
    found: Sequence[Verdict],
    *,
    addressed: bool,
    user: str,
    record: Record,
    doubts: Sequence[str] = (),
) -> str:
    """Return the answer in one sentence. ``doubts`` are those of ``unknown()``."""
    if not addressed:
        return f"the event was not for user {user}: publish it with user= or a channel"
    outcomes = {each.outcome for each in found}
    if WRITTEN in outcomes:
        return (
            "the event was written: look at the page (its type needs a listener) and at"
            " `flask sse doctor`"
        )
    if READ in outcomes:
        return (
            "the page came with a later last event id: it had received the event, or"
            " loaded its state after it"
        )
    if "waiting" in outcomes:
        return "the event waits: the client or a proxy takes no bytes"
    if "reset" in outcomes:
        return "the event is not sent any more: the client was told to load anew"
    known = f" as far as is known here ({'; '.join(doubts)})" if doubts else ""
    if not found or outcomes <= {"not_open", "ended", "other_log"}:
        ago = time.time() - record.time
        return (
            f"no stream of user {user} was open{known}: a page that comes back with its"
            f" last event id still receives the event, which is {ago:.0f} s old"
        )
    return f"no stream of the user listened to the event's target{known}"
