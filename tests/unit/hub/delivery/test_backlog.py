"""The backlog: pages of the log that are read once and shared by all clients."""

import threading
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, GapReason, Record
from flask_sse_hub.hub.delivery import backlog
from flask_sse_hub.hub.delivery.backlog import Backlog
from flask_sse_hub.hub.delivery.history import History
from flask_sse_hub.hub.tally import Tally
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL, FlakyBroker


class CountingBroker(MemoryBroker):
    """A memory broker that counts how often it is read."""

    reads = 0

    def replay(self, after: Cursor, **options: Any) -> Any:
        self.reads += 1
        return super().replay(after, **options)


def log_of(broker: MemoryBroker, count: int) -> list[Cursor]:
    """Publish `count` events; return the cursor before them and the cursor of each."""
    return [
        broker.head(),
        *(broker.publish(Record((BROADCAST,), Event(str(n)))) for n in range(count)),
    ]


def page_at(pages: Backlog, cursor: Cursor) -> History:
    page = pages.page(cursor, [BROADCAST])
    assert isinstance(page, History)
    return page


def test_clients_near_each_other_share_a_page() -> None:
    """A storm of resumes costs one read for each page, not one for each client."""
    broker = CountingBroker(KEEP_ALL)
    cursors = log_of(broker, 100)
    pages = Backlog(broker, tally=Tally())
    assert len({id(page_at(pages, cursor)) for cursor in cursors[:-1]}) == 1
    assert broker.reads == 1


def test_clients_that_arrive_at_the_same_moment_share_a_page() -> None:
    """A client that waits for another client's read needs no read of its own."""
    broker = CountingBroker(KEEP_ALL)
    start, *_ = log_of(broker, 10)
    pages = Backlog(broker, tally=Tally())
    readers = [
        threading.Thread(target=pages.page, args=[start, [BROADCAST]]) for _ in range(8)
    ]
    for each in readers:
        each.start()
    for each in readers:
        each.join()
    assert broker.reads == 1


def test_at_the_head_the_broker_is_read_again() -> None:
    """A page that was read before the newest event must not hide that event."""
    broker = CountingBroker(KEEP_ALL)
    start, last = log_of(broker, 1)
    pages = Backlog(broker, tally=Tally())
    page_at(pages, start)
    assert len(page_at(pages, last)) == 0
    log_of(broker, 1)
    assert len(page_at(pages, last)) == 1


def test_a_gap_is_reported() -> None:
    """Only the broker knows how far the log reaches back."""
    broker = MemoryBroker(KEEP_ALL)
    pages = Backlog(broker, tally=Tally())
    assert pages.page(Cursor("another", 1), [BROADCAST]) is GapReason.EPOCH


def test_a_broker_that_does_not_answer_is_asked_only_once() -> None:
    """Otherwise the clients would wait for the broker one after the other."""
    broker = FlakyBroker(KEEP_ALL)
    start, _ = log_of(broker, 1)
    clock = Clock()
    pages = Backlog(broker, tally=Tally(), clock=clock)
    broker.away = True
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            pages.page(start, [BROADCAST])
        broker.away = False
    clock.advance(1.0)
    assert len(page_at(pages, start)) == 1


def test_the_memory_for_pages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest pages are dropped first, and all pages once no client needs them."""
    monkeypatch.setattr(backlog, "_PAGE_RECORDS", 10)
    monkeypatch.setattr(backlog, "_MAX_BYTES", 10_000)
    broker = MemoryBroker(KEEP_ALL)
    cursors = log_of(broker, 200)
    clock = Clock()
    pages = Backlog(broker, tally=Tally(), clock=clock)
    for cursor in cursors[:-1]:
        page_at(pages, cursor)
    assert 1 < len(pages._pages) < 5
    pages.forget_unused()
    assert pages._pages
    clock.advance(11.0)
    pages.forget_unused()
    assert not pages._pages


class HeldBroker(MemoryBroker):
    """A memory broker whose replay waits until it is let go."""

    def __init__(self) -> None:
        super().__init__(KEEP_ALL)
        self.reading = threading.Event()
        self.let_go = threading.Event()

    def replay(self, after: Cursor, **options: Any) -> Any:
        replay = super().replay(after, **options)
        self.reading.set()
        assert self.let_go.wait(10.0)
        return replay


def test_pages_are_forgotten_without_waiting_for_the_broker() -> None:
    """The heartbeat and the follower serve everybody. A broker may hang."""
    broker = HeldBroker()
    start, *_ = log_of(broker, 10)
    clock = Clock()
    pages = Backlog(broker, tally=Tally(), clock=clock)
    broker.let_go.set()
    page_at(pages, start)
    broker.let_go.clear()
    broker.reading.clear()
    last = Cursor(start.epoch, start.offset + 10)
    reader = threading.Thread(target=pages.page, args=[last, [BROADCAST]])
    reader.start()
    assert broker.reading.wait(10.0)
    clock.advance(11.0)
    pages.forget_unused()
    pages.forget()
    assert not pages._pages
    broker.let_go.set()
    reader.join(10.0)


def test_a_page_that_was_read_across_a_gap_is_not_kept() -> None:
    """The log may have been replaced since the read began."""
    broker = HeldBroker()
    start, *_ = log_of(broker, 10)
    pages = Backlog(broker, tally=Tally())
    reader = threading.Thread(target=pages.page, args=[start, [BROADCAST]])
    reader.start()
    assert broker.reading.wait(10.0)
    pages.forget()
    broker.let_go.set()
    reader.join(10.0)
    assert not pages._pages
