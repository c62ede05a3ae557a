"""Filling a worker's memory with the end of the log, before it serves clients."""

import threading
from collections.abc import Iterator

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import LogBatch, MemoryBroker
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, GapReason, Record
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from tests.kit.hand import KEEP_ALL


class Scripted(MemoryBroker):
    """A broker with three events, whose follower meets gaps and then ends."""

    def __init__(self, *, gap_at: int | None = None) -> None:
        super().__init__(KEEP_ALL)
        self.gap_at = gap_at
        self.gap_later = False
        for _ in range(3):
            self.publish(Record((BROADCAST,), Event("x")))

    def follow(self, after: Cursor) -> Iterator[LogBatch]:
        follower = super().follow(after)
        if self.gap_at is not None:
            yield LogBatch((), Cursor(after.epoch, self.gap_at), GapReason.EXPIRED)
            return
        yield next(follower)
        if self.gap_later:
            yield LogBatch((), self.head(), GapReason.EXPIRED)


def parts_of(broker: MemoryBroker) -> Parts:
    return Parts(broker, HubOptions())


def test_a_gap_while_filling_starts_it_again() -> None:
    """Events from before the gap must not be joined with events after it."""
    parts = parts_of(Scripted(gap_at=9))
    parts.follower.run(threading.Event())
    assert parts.follower.ready
    assert parts.progress.position.offset == 9
    assert len(parts.history) == 0


def test_a_later_gap_empties_the_backlog() -> None:
    """No client is served from pages of a log that no longer exists."""
    broker = Scripted()
    parts = parts_of(broker)
    parts.backlog.page(Cursor(broker.head().epoch, 0), [BROADCAST])
    assert parts.backlog._pages
    broker.gap_later = True
    parts.follower.run(threading.Event())
    assert not parts.backlog._pages


def test_a_hub_that_is_closed_while_filling_is_never_ready() -> None:
    """The hub's follower ends before it reaches the head."""
    broker = Scripted()
    broker.follow = lambda after: iter(())  # type: ignore[method-assign]
    parts = parts_of(broker)
    parts.follower.run(threading.Event())
    assert not parts.follower.ready


def test_a_log_that_is_replaced_while_filling_is_read_again() -> None:
    """Offsets of two logs cannot be compared; the old head would never be reached."""
    broker = Scripted()
    tails = iter([Cursor("another", 0)])
    tail = broker.tail
    broker.tail = lambda max_bytes: next(tails, tail(max_bytes))  # type: ignore[method-assign]
    parts = parts_of(broker)
    parts.follower.run(threading.Event())
    assert parts.follower.ready
    assert parts.progress.position == broker.head()


def test_a_broker_that_stays_away_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line is logged when the broker is away, and one when it is back."""
    caplog.set_level("INFO")
    monkeypatch.setattr("flask_sse_hub.hub.follower._RETRY_SECONDS", 0.01)
    broker = AwayThreeTimes()
    parts = parts_of(broker)
    parts.follower.run(threading.Event())
    assert caplog.text.count("cannot read the log yet: away") == 1
    assert caplog.text.count("the log can be read now") == 1


class AwayThreeTimes(Scripted):
    """A broker that cannot be read the first three times."""

    asked = 0

    def head(self) -> Cursor:
        self.asked += 1
        if self.asked <= 3:
            raise BrokerUnavailable("away")
        return super().head()
