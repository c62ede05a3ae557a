"""Members of a log: each one that is gone is written off once, and no other."""

import pytest

from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.hub.members import MISSED_BEATS, beat_of, farewell_of
from tests.kit.hand import KEEP_ALL, HandHub


class Cause:
    """A part that needs the members, and notes those that are gone."""

    def __init__(self) -> None:
        self.needed = True
        self.left: list[str] = []

    def needs_members(self) -> bool:
        return self.needed

    def member_left(self, member_id: str) -> None:
        self.left.append(member_id)


class Worker:
    """One worker of a log that beats when the test says so."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.hub = HandHub(broker)
        self.members = self.hub.parts.members
        self.cause = Cause()
        self.members.serve(self.cause)

    def beat(self, times: int = 1) -> None:
        for _ in range(times):
            self.members.beat()
            self.hub.bring()


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(KEEP_ALL)


def test_a_silent_member_is_written_off_once(broker: MemoryBroker) -> None:
    """Both others find it silent. One record tells all of them."""
    dead, one, two = (Worker(broker) for _ in range(3))
    for each in (dead, one, two):
        each.beat()
    for _ in range(MISSED_BEATS + 2):
        one.members.beat()
        two.members.beat()
        one.hub.bring()
        two.hub.bring()
    assert one.cause.left == two.cause.left == [dead.members.own_id]
    assert dead.members.own_id not in one.members


def test_a_member_that_beats_is_never_written_off(broker: MemoryBroker) -> None:
    """However often the others beat meanwhile, a beat starts the count again."""
    slow, quick = Worker(broker), Worker(broker)
    for _ in range(5):
        slow.beat()
        quick.beat(MISSED_BEATS)
    assert quick.cause.left == []
    assert slow.members.own_id in quick.members


def test_a_worker_alone_writes_nobody_off_while_its_own_beats_do_not_come(
    broker: MemoryBroker,
) -> None:
    """A worker that cannot read the log knows nothing about the others."""
    other, worker = Worker(broker), Worker(broker)
    other.beat()
    worker.hub.bring()
    for _ in range(10):
        worker.members.beat()
    assert worker.cause.left == []


def test_a_member_that_was_written_off_comes_back(broker: MemoryBroker) -> None:
    """A worker that was only stopped learns that its part is gone, and beats again."""
    stopped, worker = Worker(broker), Worker(broker)
    stopped.beat()
    worker.beat(MISSED_BEATS + 3)
    stopped.hub.bring()
    assert stopped.cause.left == [stopped.members.own_id]
    stopped.beat()
    worker.hub.bring()
    assert stopped.members.own_id in worker.members


def test_a_worker_that_begins_gives_the_others_time(broker: MemoryBroker) -> None:
    """The beats in the log are older than the worker: it counts its own ones."""
    other = Worker(broker)
    other.beat()
    worker = Worker(broker)
    assert other.members.own_id in worker.members
    worker.beat(MISSED_BEATS)
    assert worker.cause.left == []
    worker.beat(3)
    assert worker.cause.left == [other.members.own_id]


def test_a_worker_without_a_cause_writes_nothing(broker: MemoryBroker) -> None:
    """An app without presence and answers has no beats in its log."""
    worker = Worker(broker)
    worker.cause.needed = False
    before = broker.head()
    worker.beat(3)
    assert broker.head() == before


@pytest.mark.parametrize("how", ["no cause is left", "the worker drains"])
def test_a_member_says_when_it_goes(broker: MemoryBroker, how: str) -> None:
    """The others hear of it at once, and wait for no beats."""
    going, worker = Worker(broker), Worker(broker)
    going.beat()
    if how == "the worker drains":
        going.hub.hub.drain()
    else:
        going.cause.needed = False
        going.members.beat()
    worker.hub.bring()
    assert worker.cause.left == [going.members.own_id]


def test_only_the_newest_beat_is_kept(broker: MemoryBroker) -> None:
    """The state of the log does not grow with the beats."""
    worker = Worker(broker)
    worker.beat(5)
    (kept,) = broker.state().records
    assert kept.addresses == (address.worker(worker.members.own_id),)
    assert kept.key == beat_of("any").key


def test_a_part_that_begins_enters_once(broker: MemoryBroker) -> None:
    """Each beat of a worker counts the silence of the others."""
    other, worker = Worker(broker), Worker(broker)
    other.beat()
    for _ in range(3 * MISSED_BEATS):
        worker.members.enter()
    worker.hub.bring()
    other.hub.bring()
    assert worker.members.own_id in other.members
    worker.members.beat()
    assert worker.cause.left == []


@pytest.mark.parametrize("how", ["written off", "lost with the log"])
def test_a_part_enters_again_if_the_beat_is_gone(
    broker: MemoryBroker, how: str
) -> None:
    """It need not wait for the next beat: others may end graces meanwhile."""
    worker = Worker(broker)
    worker.beat()
    if how == "written off":
        broker.publish(farewell_of(worker.members.own_id))
        worker.hub.bring()
    else:
        worker.members.restart()
    assert worker.members.own_id not in worker.members
    before = broker.head().offset
    worker.members.enter()
    worker.members.enter()
    worker.hub.bring()
    assert worker.members.own_id in worker.members
    assert broker.head().offset == before + 1


def test_a_beat_that_is_taken_back_at_once_is_lost(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread may go on only after the worker has read that."""
    append = broker.publish
    farewells: list[Record] = []

    def publish(record: Record) -> Cursor:
        cursor = append(record)
        if not farewells:
            farewells.append(farewell_of(worker.members.own_id))
            append(farewells[0])
            worker.hub.bring()
        return cursor

    monkeypatch.setattr(broker, "publish", publish)
    worker = Worker(broker)
    worker.members.enter()
    assert worker.members.own_id not in worker.members
    worker.members.enter()
    worker.hub.bring()
    assert worker.members.own_id in worker.members


def test_a_drain_lets_parts_end_before_the_others_hear_of_it(
    broker: MemoryBroker,
) -> None:
    """Otherwise the others would take for lost what this worker could still end."""
    worker = Worker(broker)
    worker.beat()
    there: list[bool] = []

    def last_word() -> None:
        worker.hub.bring()
        there.append(worker.members.own_id in worker.members)

    worker.members.before_leaving(last_word)
    worker.hub.hub.drain()
    worker.hub.bring()
    assert there == [True]
    assert worker.members.own_id not in worker.members
