"""Records that workers write for each other, and what each worker makes of them."""

import logging
from collections.abc import Collection

import pytest

from flask_sse_hub import Event
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.address import Address
from flask_sse_hub.events.record import Record
from tests.kit.hand import KEEP_ALL, HandHub


class Book:
    """A fold that keeps the data of answers' records."""

    kinds: Collection[str] = ("a",)

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.restarts = 0
        self.complete = False

    def restart(self) -> None:
        self.taken.clear()
        self.restarts += 1
        self.complete = False

    def take(self, record: Record) -> None:
        assert isinstance(record.content, Event)
        if record.content.data == "hostile":
            raise ValueError
        self.taken.append(record.content.data)

    def caught_up(self) -> None:
        self.complete = True


ANSWER = address.answer("7")


def hub_with_book(broker: MemoryBroker | None = None) -> tuple[HandHub, Book]:
    hub = HandHub(broker, begun=False)
    book = Book()
    hub.hub.add_fold(book)
    hub.begin()
    return hub, book


def test_a_fold_takes_records_of_its_kind_in_order() -> None:
    """Events for clients are not among them."""
    hub, book = hub_with_book()
    hub.publish("one", to=ANSWER)
    hub.publish("for clients")
    hub.publish("two", to=ANSWER)
    hub.bring()
    assert book.taken == ["one", "two"]


@pytest.mark.parametrize("to", [ANSWER, address.worker("w")])
def test_no_client_receives_records_for_workers(to: Address) -> None:
    """They move its position only. Nor are they values of its state."""
    hub, _ = hub_with_book()
    stream = hub.stream()
    hub.publish("for workers", to=to, key="k")
    hub.bring()
    assert stream.data() == []
    assert hub.stream(state=True).data() == []


def test_a_worker_that_begins_knows_the_values_and_the_newest_records() -> None:
    """A value whose record is also in the log comes once."""
    broker = MemoryBroker(KEEP_ALL)
    before, _ = hub_with_book(broker)
    before.publish("old value", to=ANSWER, key="k")
    before.publish("value", to=ANSWER, key="k")
    before.publish("newest", to=ANSWER)
    _, book = hub_with_book(broker)
    assert book.taken == ["old value", "value", "newest"]
    assert book.complete


def test_a_value_outlives_its_record() -> None:
    """It comes before the records that the log still has."""
    keep_two = KEEP_ALL.__class__(events=2, seconds=3600.0, bytes=10_000_000)
    broker = MemoryBroker(keep_two)
    before, _ = hub_with_book(broker)
    before.publish("value", to=ANSWER, key="k")
    for data in "123":
        before.publish(data, to=ANSWER)
    _, book = hub_with_book(broker)
    assert book.taken == ["value", "2", "3"]


def test_a_gap_begins_again_with_the_values() -> None:
    """Records may be lost, and so the fold must forget what it knows."""
    keep_two = KEEP_ALL.__class__(events=2, seconds=3600.0, bytes=10_000_000)
    hub, book = hub_with_book(MemoryBroker(keep_two))
    hub.publish("value", to=ANSWER, key="k")
    hub.follow()
    for data in "123":
        hub.publish(data, to=ANSWER)
    hub.bring()
    assert book.restarts == 2
    assert book.taken == ["value"]


def test_a_record_that_cannot_be_read_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another program may have written it."""
    hub, book = hub_with_book()
    hub.publish("hostile", to=ANSWER)
    hub.publish("next", to=ANSWER)
    with caplog.at_level(logging.WARNING):
        hub.bring()
    assert book.taken == ["next"]
    assert "could not be read" in caplog.text
