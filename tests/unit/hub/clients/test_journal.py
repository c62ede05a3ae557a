"""The journal of one worker's streams."""

import sys
import threading

import pytest

from flask_sse_hub import CloseReason
from flask_sse_hub.events.record import Cursor
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.journal import Journal
from flask_sse_hub.testing import Clock

HERE = Cursor("log", 7)


class _Sink:
    writing_since = None


def a_client(user: str = "42") -> Client:
    sink: object = _Sink()
    return Client("a", identity=Identity(user), sink=sink)  # type: ignore[arg-type]


def a_journal(clock: Clock) -> Journal:
    return Journal(seconds=60.0, clock=clock, time_of_day=clock)


def test_an_end_is_noted_with_its_place_and_reason() -> None:
    """A client that keeps up was sent everything up to the position."""
    clock = Clock()
    journal = a_journal(clock)
    client = a_client()
    client.opened_at = clock()
    clock.advance(5.0)
    journal.note_end(client, CloseReason.STALLED, HERE)
    (life,) = journal.ended_of("42")
    assert (life.last, life.reason) == ("log-7", "stalled")
    assert life.ended is not None
    assert life.ended - life.opened == 5.0
    assert list(journal.ended_of("43")) == []


def test_a_stream_is_forgotten_with_history() -> None:
    """The journal says from when on it knows all streams."""
    clock = Clock()
    journal = a_journal(clock)
    begun = journal.since
    journal.note_end(a_client(), CloseReason.AGE, HERE)
    clock.advance(61.0)
    journal.note_end(a_client(), CloseReason.SHUTDOWN, HERE)
    assert [life.reason for life in journal.ended_of("42")] == ["shutdown"]
    assert journal.since > begun


def test_very_many_ends_are_bounded() -> None:
    """A page that reconnects all the time fills no memory."""
    journal = a_journal(Clock())
    for _ in range(10_001):
        journal.note_end(a_client(), CloseReason.CLIENT_GONE, HERE)
    assert sum(1 for _ in journal.ended_of("42")) == 10_000


def test_streams_may_end_in_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread forgets old streams, and none trips over another one."""
    monkeypatch.setattr(threading, "excepthook", lambda args: failed.append(args))
    failed: list[object] = []
    clock = Clock()

    def time_of_day() -> float:
        clock.advance(1.0)
        return clock()

    journal = Journal(seconds=0.5, clock=clock, time_of_day=time_of_day)

    def end() -> None:
        for _ in range(500):
            journal.note_end(a_client(), CloseReason.AGE, HERE)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=end) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert not failed
