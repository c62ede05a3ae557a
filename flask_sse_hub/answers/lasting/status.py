"""The status of an answer, as apps see it. Pure."""

from dataclasses import dataclass

from ..progress import Progress
from . import records
from .entry import BookEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerStatus:
    """An answer that runs, or has ended not long ago.

    ``state`` is "running", "done", "stopped", "failed" or "lost". ``reason`` tells
    more about an end: "abandoned" (stopped because nobody read it), "timeout",
    "too_large" and "shutdown", or the same word as ``state``. ``begun`` and ``ended``
    are in seconds since 1970. ``size`` is in bytes. ``has_readers`` tells whether
    anybody reads the answer, on any worker.
    """

    id: str
    user: str | None
    state: str
    reason: str | None
    begun: float
    ended: float | None
    size: int
    has_readers: bool
    progress: Progress | None


def status_of(entry: BookEntry) -> AnswerStatus:
    """Return an answer as apps see it."""
    ended = entry.ended
    return AnswerStatus(
        id=entry.begun.id,
        user=entry.begun.user,
        state="running" if ended is None else records.STATES[ended.reason],
        reason=None if ended is None else ended.reason,
        begun=entry.begun_at,
        ended=entry.ended_at,
        size=entry.size,
        has_readers=entry.is_running and bool(entry.readers),
        progress=entry.progress,
    )
