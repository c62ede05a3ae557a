"""Receipts on several workers: each stream counts once, and silence is told once."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from flask_sse_hub import Event, Receipt
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.hub.receipts import clerk, fold
from flask_sse_hub.hub.receipts.questions import look_up
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub
from tests.kit.people import ROOM, Company

ANN = address.user("ann")
HALL = address.channel("hall.east")

#: Longer than all workers need to report, and to say that an event is unheard.
LONG = 8


@pytest.fixture
def company() -> Iterator[Company]:
    company = Company()
    yield company
    company.close()


def publish(at: HandHub, to: address.Address = ANN, **options: Any) -> str:
    return at.publish("hello", to=to, receipt=True, **options)


def receipt_of(worker: HandHub, event_id: str) -> Receipt | None:
    cursor = Cursor.parse(event_id)
    assert cursor is not None
    return worker.hub.receipt(cursor)


def told(company: Company) -> list[str]:
    found = [each for worker in company.workers for each in worker.told]
    return [each for each in found if each.startswith("unheard")]


def test_streams_and_people_count_on_all_workers(company: Company) -> None:
    """A person with three streams on two workers is one. Each worker knows the sum."""
    one, two = company.workers
    streams = [
        one.stream(user="ann", channels=("hall.east",)),
        one.stream(user="ann", channels=("hall.east",)),
        two.stream(user="ann", channels=("hall.east",)),
        two.stream(user="bob", channels=("hall.east",)),
        two.stream(channels=("hall.*",)),
        two.stream(user="cid"),
    ]
    event_id = publish(one, HALL)
    company.settle()
    for stream in streams:
        stream.read()
    assert receipt_of(two, event_id) == Receipt()
    company.wait(LONG)
    for worker in company.workers:
        assert receipt_of(worker, event_id) == Receipt(5, 2, complete=True)
    assert told(company) == []


def test_a_script_reads_the_receipt_from_the_log(company: Company) -> None:
    """It finds the reports behind the event."""
    one, two = company.workers
    one.stream(user="ann"), two.stream(user="ann")
    event_id = publish(one)
    cursor = Cursor.parse(event_id)
    assert cursor is not None
    assert look_up(company.broker, cursor) is None
    company.settle()
    for worker in company.workers:
        for client in worker.hub.clients():
            worker.hub.take(client)
    company.wait(2)
    found = look_up(company.broker, cursor)
    assert found is not None
    assert (found.streams, found.people) == (2, 1)


def test_streams_that_lag_or_come_later_are_late(company: Company) -> None:
    """An event is not unheard because its client is slow."""
    one, two = company.workers
    lagging = one.stream(user="ann")
    event_id = publish(one)
    company.settle()
    two.stream(user="ann")
    company.wait(LONG)
    assert receipt_of(one, event_id) == Receipt(late=2, complete=True)
    assert lagging.data() == ["hello"]
    assert told(company) == []


def test_a_client_that_has_left_has_taken_the_event(company: Company) -> None:
    """It keeps the cursor that it had."""
    one, _ = company.workers
    reader, deaf = one.stream(user="ann"), one.stream(user="ann")
    event_id = publish(one)
    company.settle()
    reader.read()
    reader.drop()
    deaf.drop()
    company.wait(LONG)
    assert receipt_of(one, event_id) == Receipt(1, 1, complete=True)


def test_the_statistics_tell_how_far_a_client_is_behind(company: Company) -> None:
    """They count the events of its addresses, each once."""
    one, _ = company.workers
    lagging, reader = one.stream(user="ann", channels=("hall.east",)), one.stream()
    for to in (ANN, HALL, address.user("bob")):
        one.publish("hello", to=to)
    one.hub.publish(Record((ANN, HALL), Event("both")))
    one.bring()
    assert reader.read() == []
    lag = {each.id: each.lag_events for each in one.hub.stats(clients=True).clients}
    assert lag == {lagging.client.id: 3, reader.client.id: 0}


def test_excluded_clients_and_momentary_events(company: Company) -> None:
    """An excluded client has no part in it. A lagging one misses an event with ttl 0.

    It is late all the same: somebody is there.
    """
    one, _ = company.workers
    sender, lagging = one.stream(user="ann"), one.stream(user="ann")
    lagging.sink.writing_since = one.clock.now - 5
    event_id = publish(one, ttl=0.0, exclude=(sender.client.id,))
    company.settle()
    lagging.sink.writing_since = None
    lagging.read()
    company.wait(LONG)
    assert receipt_of(one, event_id) == Receipt(late=1, complete=True)


def test_an_unheard_event_is_told_once(company: Company) -> None:
    """One worker of all tells the app, with the event and its target."""
    one, two = company.workers
    event_id = publish(one)
    company.wait(LONG)
    assert told(company) == ["unheard hello {'user': ['ann']}"]
    for worker in company.workers:
        assert receipt_of(worker, event_id) == Receipt(unheard=True, complete=True)
    cursor = Cursor.parse(event_id)
    assert cursor is not None
    found = look_up(company.broker, cursor)
    assert found is not None
    assert found.unheard
    assert two.parts.clerk.fold.receipt(event_id) is not None


@pytest.mark.parametrize(
    "to", [ANN, address.channel(ROOM), address.BROADCAST], ids=["user", "room", "all"]
)
def test_who_is_present_is_not_unheard(company: Company, to: address.Address) -> None:
    """A person within the grace is waited for, and missed when it is over."""
    one, two = company.workers
    tab = two.tab("ann")
    company.settle()
    two.close_tab(tab)
    publish(one, to)
    company.wait(LONG)
    assert told(company) == []
    company.wait(15)
    assert len(told(company)) == 1


def test_who_comes_back_is_not_unheard(company: Company) -> None:
    """A reload is no silence, also if the new stream begins after the event."""
    one, two = company.workers
    tab = two.tab("ann")
    company.settle()
    two.close_tab(tab)
    publish(one)
    company.wait(LONG)
    one.tab("ann")
    company.wait(30)
    assert told(company) == []
    assert not any(worker.parts.clerk.waits for worker in company.workers)


def test_events_without_a_receipt_write_nothing(company: Company) -> None:
    """They have no receipt either."""
    one, _ = company.workers
    one.stream(user="ann")
    event_id = one.publish("hello", to=ANN)
    head = company.broker.head()
    company.wait(3)
    assert company.broker.head() == head
    assert receipt_of(one, event_id) is None


def test_a_worker_that_starts_judges_the_newest_events(company: Company) -> None:
    """The worker that has published the event may be gone, and no other was there."""
    company.kill(company.workers[0])
    company.kill(company.workers[0])
    event = Record((ANN,), Event("hello"), receipt=True)
    event_id = str(company.broker.publish(event))
    company.hire()
    company.wait(LONG)
    assert told(company) == ["unheard hello {'user': ['ann']}"]
    company.hire().stream(user="ann")
    company.wait(LONG)
    assert len(told(company)) == 1
    last = receipt_of(company.workers[-1], event_id)
    assert last == Receipt(unheard=True, complete=True)


def test_a_worker_that_goes_reports_at_once(company: Company) -> None:
    """Otherwise the others would hold the event for unheard."""
    one, two = company.workers
    stream = one.stream(user="ann")
    event_id = publish(two)
    company.settle()
    stream.read()
    one.hub.drain()
    company.kill(one)
    company.wait(LONG)
    assert receipt_of(two, event_id) == Receipt(1, 1, complete=True)


class _Away(FlakyBroker):
    """A broker that appends nothing while it is away."""

    def publish(self, record: Record) -> Cursor:
        self._check()
        return super().publish(record)


def test_an_outage_is_no_silence(caplog: pytest.LogCaptureFixture) -> None:
    """Reports are tried again, and nothing is judged until the others could report."""
    broker = _Away(KEEP_ALL)
    company = Company(broker)
    one, two = company.workers
    stream = two.stream(user="ann")
    event_id = publish(one)
    company.settle()
    stream.read()
    broker.away = True
    for _ in range(LONG):
        company.clock.advance(1.0)
        one.parts.clerk.step()
        two.parts.clerk.step()
    broker.away = False
    company.wait(LONG)
    assert told(company) == []
    found = receipt_of(one, event_id)
    assert found is not None
    assert (found.streams, found.people) == (1, 1)
    assert "receipts cannot be written to the log yet" in caplog.text
    company.close()


def test_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the bounds there is no receipt, and the log says so."""
    monkeypatch.setattr(clerk, "_MOST_BYTES", 3_000)
    monkeypatch.setattr(fold, "_MOST_OPEN", 0)
    monkeypatch.setattr(fold, "_MOST", 1)
    worker = HandHub(clock=Clock())
    with caplog.at_level(logging.WARNING):
        ids = [publish(worker) for _ in range(6)]
        worker.bring()
    assert "too many events with a receipt wait" in caplog.text
    found = [receipt_of(worker, each) is not None for each in ids]
    assert found == [False, False, True, False, False, False]


def test_a_foreign_record_is_passed_over(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program can write anything to the log."""
    one, _ = company.workers
    to = (address.worker("x"),)
    for data in ("", "[]", '{"event_id":1,"streams":-1,"late":0,"people":""}'):
        company.broker.publish(Record(to, Event(data, type="receipt")))
    event_id = publish(one)
    company.wait(LONG)
    assert "could not be read" in caplog.text
    assert receipt_of(one, event_id) == Receipt(unheard=True, complete=True)
