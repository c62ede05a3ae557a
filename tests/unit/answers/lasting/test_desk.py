"""Desks of two workers over one log: readers, stops, ends, and nothing left behind."""

import logging
import random

import pytest

from flask_sse_hub.answers.lasting import records
from flask_sse_hub.answers.lasting.records import begin
from flask_sse_hub.answers.progress import Progress
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.errors import BrokerUnavailable
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Record, Retention
from flask_sse_hub.hub.clients.client import Identity
from flask_sse_hub.hub.clients.close_reason import CloseReason
from flask_sse_hub.hub.members import MISSED_BEATS, farewell_of
from tests.unit.answers.lasting.conftest import (
    SINGLY,
    Given,
    HandReader,
    Worker,
    finish,
    run,
    step,
)


def test_a_late_reader_gets_the_text_so_far_as_one_event(
    one: Worker, two: Worker
) -> None:
    """Then each part once, on whichever worker. The wire says which is the state."""
    source = Given("one ", "two ")
    runner = one.start(source)
    run(runner)
    late = two.read()
    assert late.read() == ["one two "]
    assert late.is_state
    source.items.append("three")
    run(runner)
    two.hand.bring()
    assert late.read() == ["three"]
    assert not late.is_state


def test_a_first_part_alone_is_no_state(one: Worker) -> None:
    """Nothing came before it."""
    runner = one.start(Given("one"))
    run(runner)
    reader = one.read()
    reader.read()
    assert not reader.is_state


def test_readers_that_drop_anywhere_receive_everything_once(
    one: Worker, two: Worker
) -> None:
    """They come back with their last id, to any worker."""
    draw = random.Random(7)
    source = Given()
    runner = one.start(source)
    readers: list[HandReader] = [one.read(), two.read()]
    texts = ["", ""]
    for number in range(60):
        source.items.extend(f"{number}." for _ in range(draw.randrange(3)))
        run(runner)
        one.hand.bring()
        if draw.random() < 0.7:
            two.hand.bring()
        for index, reader in enumerate(readers):
            if draw.random() < 0.6:
                texts[index] += reader.text()
            if draw.random() < 0.3:
                last_id = reader.drop()
                readers[index] = draw.choice([one, two]).read(last_id=last_id)
    source.end()
    finish(runner)
    for index, reader in enumerate(readers):
        one.hand.bring()
        two.hand.bring()
        texts[index] += reader.text()
        assert reader.ended
        assert reader.source.exhausted
    assert texts == [one.entry.content] * 2


def test_items_come_one_by_one_and_the_newest_progress(
    one: Worker, two: Worker
) -> None:
    """A late reader of an answer without merge gets all items in one go."""
    source = Given("a", ["b", "type", None], Progress(1), Progress(2))
    runner = one.start(source, batch=SINGLY, is_text=False)
    run(runner)
    one.hand.clock.advance(1.0)
    step(runner)
    reader = two.read()
    first, second, progress = reader.read()
    assert (first, second.data, second.type) == ("a", "b", "type")
    assert progress == Progress(2)
    assert reader.last_id == f"{one.entry.begun.run}:2"


@pytest.mark.parametrize("last_id", ["other:1", "x", "", "0123456789abcdef:x", None])
def test_an_id_of_something_else_begins_at_the_beginning(
    one: Worker, last_id: str | None
) -> None:
    """So does the id of an earlier answer of the same name."""
    run(one.start(Given("text")))
    assert one.read(last_id=last_id).text() == "text"


def test_a_reader_ahead_of_its_worker_waits(one: Worker, two: Worker) -> None:
    """It was served by a worker that had read more of the log."""
    two.hand.bring()
    source = Given("a")
    runner = one.start(source)
    entry = two.entry
    run(runner)
    ahead = one.read()
    assert ahead.text() == "a"
    behind = HandReader(two, entry, ahead.drop(), Identity("7"))
    assert behind.text() == ""
    source.items.append("b")
    run(runner)
    two.hand.bring()
    assert behind.text() == "b"


def test_stop_ends_all_readers_and_the_iterable(one: Worker, two: Worker) -> None:
    """From another worker. The end is in the log when the call returns."""
    source = Given("a")
    runner = one.start(source)
    run(runner)
    readers = [one.read(), two.read()]
    for reader in readers:
        reader.read()
    assert two.desk.stop("answer")
    source.items.append("late")
    one.hand.bring()
    two.hand.bring()
    assert source.stopped
    finish(runner)
    for reader in readers:
        assert reader.text() == ""
        assert (reader.ended, reader.source.reason) == (True, "stopped")
    assert not one.desk.stop("answer")
    assert not one.desk.stop("unknown")
    assert one.desk.running == 0


def test_one_end_however_many_race(one: Worker, two: Worker) -> None:
    """Done, stopped and lost write the same key."""
    source = Given("a")
    runner = one.start(source)
    run(runner)
    two.hand.bring()
    two.desk.stop("answer")
    source.end()
    finish(runner)
    two.desk.stop("answer")
    two.look()
    one.look()
    assert one.reason == two.reason == "stopped"
    assert len(_records(one, "answer")) == 2


def _records(worker: Worker, key: str) -> list[str]:
    found = worker.hand.broker.replay(
        worker.hand.broker.head()._replace(offset=0), page=9999
    )
    return [str(each.content) for each in found.records if each.key == key]


def test_a_dead_worker_is_noticed_once(
    one: Worker, two: Worker, broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """Another one writes the end, and what the dead one had yielded stays."""
    three = Worker(broker)
    run(one.start(Given("a")))
    reader = two.read()
    for _ in range(MISSED_BEATS + 2):
        two.hand.hub.members.beat()
        two.hand.bring()
        three.hand.bring()
    with caplog.at_level(logging.WARNING):
        for each in (two, three):
            each.look()
    assert two.reason == three.reason == "lost"
    assert len(_records(two, "answer")) == 2
    assert reader.text() == "a"
    assert reader.source.failure is not None
    assert reader.source.failure.reason == "lost"
    assert "is lost" in caplog.text


def test_a_worker_that_was_only_stopped_produces_no_more(
    one: Worker, two: Worker
) -> None:
    """Its own part of the log comes too late for everybody."""
    source = Given("a")
    runner = one.start(source)
    run(runner)
    two.hand.bring()
    for _ in range(MISSED_BEATS + 2):
        two.hand.hub.members.beat()
        two.hand.bring()
    two.look()
    source.items.append("late")
    step(runner)
    one.hand.bring()
    two.hand.bring()
    finish(runner)
    assert one.reason == two.reason == "lost"
    assert one.entry.content == two.entry.content == "a"
    assert source.stopped


def test_a_worker_that_begins_finds_the_dead(one: Worker, broker: MemoryBroker) -> None:
    """All workers were killed: nobody was left to write the dead ones off."""
    run(one.start(Given("a")))
    broker.publish(farewell_of(one.desk.member_id))
    late = Worker(broker)
    late.look()
    assert late.reason == "lost"


def test_a_draining_worker_ends_its_answers(one: Worker, two: Worker) -> None:
    """Before it says that it is gone. The reason tells."""
    source = Given("a")
    runner = one.start(source)
    run(runner)
    runner.end_now("shutdown")
    finish(runner)
    two.hand.bring()
    assert two.reason == "shutdown"
    assert two.entry.content == "a"


def test_the_watch_for_departures_ends_an_answer(one: Worker) -> None:
    """As it ends each answer, two seconds before the worker is killed."""
    source = Given()
    one.start(source)
    (run,) = one.watch.streams
    run.worker_leaves()
    assert source.stopped


def test_nothing_is_left_of_an_answer(one: Worker, two: Worker) -> None:
    """After keep seconds no key, reader, run or entry is left, on any worker."""
    source = Given("a", Progress(1), "b")
    runner = one.start(source, keep=60.0)
    run(runner)
    readers = [one.read(), two.read()]
    one.look()
    two.look()
    source.end()
    finish(runner)
    for reader in readers:
        assert reader.read()[0] == "ab"
        reader.drop()
    for each in (one, two):
        each.look()
        each.hand.clock.advance(59.0)
        each.look()
        assert each.entry.content == "ab"
    for each in (one, two, one, two):
        each.hand.clock.advance(2.0)
        each.look()
    for each in (one, two):
        assert len(each.desk.book) == each.desk.running == len(each.watch.streams) == 0
        assert each.hand.hub.clients() == []
        assert not each.desk.needs_members()
        each.hand.hub.members.beat()
    assert one.hand.broker.state().records == ()


def test_a_text_outlives_its_parts(broker: MemoryBroker) -> None:
    """The last snapshot comes after the end: a worker that begins then has it all."""
    keep_few = Retention(events=4, seconds=3600.0, bytes=10_000_000)
    few = MemoryBroker(keep_few)
    one = Worker(few)
    source = Given("a", "b", "c")
    runner = one.start(source)
    run(runner)
    one.hand.bring()
    one.desk.stop("answer")
    one.hand.bring()
    finish(runner)
    one.look()
    for _ in range(5):
        one.hand.publish("other")
    late = Worker(few)
    reader = late.read()
    assert reader.text() == "abc"
    assert reader.source.reason == "stopped"


def test_a_logout_ends_reading_and_not_the_answer(one: Worker, two: Worker) -> None:
    """On every worker, and at once: nothing that comes later is read."""
    source = Given("a")
    runner = one.start(source)
    run(runner)
    theirs = Identity("7", "session")
    readers = [one.read(identity=theirs), two.read(identity=theirs)]
    other = two.read(identity=Identity("7", "another"))
    for reader in (*readers, other):
        assert reader.text() == "a"
    one.hand.hub.disconnect(
        (address.session("session"),),
        reason=CloseReason.SESSION_ENDED,
        final=True,
        beside=False,
    )
    source.items.append("b")
    run(runner)
    one.hand.bring()
    two.hand.bring()
    for reader in readers:
        assert reader.text() == ""
        assert reader.ended
        assert not reader.source.exhausted
    assert other.text() == "b"
    assert one.reason is None


def test_a_draining_worker_lets_its_clients_finish_if_they_cannot_come_back(
    one: Worker, two: Worker
) -> None:
    """Others leave at once, and read on elsewhere. A logout ends each of them.

    The worker that runs the answer keeps them too: otherwise its server would see no
    reason to wait.
    """
    source = Given("a")
    runner = one.start(source)
    run(runner)
    theirs = Identity("7", "session")
    comes_back = two.read(identity=theirs)
    stays = two.read(identity=theirs, resumes=False)
    holds = one.read(identity=theirs)
    for worker in (one, two):
        for client in worker.hand.hub.clients():
            worker.hand.hub.end(client, CloseReason.SHUTDOWN)
    assert (comes_back.text(), comes_back.ended) == ("", True)
    assert (stays.text(), stays.ended) == ("a", False)
    assert (holds.text(), holds.ended) == ("a", False)
    one.hand.hub.disconnect(
        (address.session("session"),),
        reason=CloseReason.SESSION_ENDED,
        final=True,
        beside=False,
    )
    two.hand.bring()
    assert (stays.text(), stays.ended) == ("", True)
    assert (holds.text(), holds.ended) == ("", True)


def test_a_refused_reader_leaves_nothing(one: Worker) -> None:
    """Its client comes back later."""
    run(one.start(Given("a")))
    one.hand.parts.admission.closed = True
    reader = one.read()
    assert reader.text() == ""
    assert (reader.ended, reader.source.exhausted) == (True, False)
    assert one.hand.hub.clients() == []


def test_two_answers_of_one_id_at_once_are_one(
    one: Worker, two: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """The second one, which the log has later, is not produced."""
    first, second = Given("first"), Given("second")
    run(one.start(first))
    loser = two.start(second, run="f" * 16)
    with caplog.at_level(logging.WARNING):
        two.hand.bring()
    finish(loser)
    assert second.stopped
    assert two.entry.content == one.entry.content == "first"


def test_an_unknown_answer_is_looked_for_up_to_the_head(
    one: Worker, two: Worker
) -> None:
    """A worker that cannot read the log does not call an answer unknown."""
    assert one.desk.find("answer") is None
    two.start(Given())
    with pytest.raises(BrokerUnavailable, match="behind the log"):
        one.desk.find("answer")
    one.hand.bring()
    assert one.desk.find("answer") is not None


def test_readers_of_a_worker_that_dies_are_gone(one: Worker, two: Worker) -> None:
    """Otherwise an answer without readers would never stop."""
    run(one.start(Given("a")))
    two.read()
    two.look()
    assert one.entry.readers == {two.desk.member_id}
    two.hand.hub.members.leave()
    assert one.entry.readers == set()
    assert one.reason is None


def test_readers_are_told_again_after_a_gap(one: Worker, two: Worker) -> None:
    """In the gap the others may have written the worker off, with its readers."""
    run(one.start(Given("a")))
    two.read()
    two.look()
    assert one.entry.readers == {two.desk.member_id}
    one.desk.book.member_left(two.desk.member_id)
    assert one.entry.readers == set()
    two.desk.book.restart()
    two.desk.book.take(begin(two.entry.begun))
    two.desk.book.caught_up()
    two.look()
    one.hand.bring()
    assert one.entry.readers == {two.desk.member_id}


def test_readers_are_told_again_if_the_others_write_the_worker_off(
    broker: MemoryBroker, one: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may do it right after its record, before its thread goes on."""
    append = broker.publish
    farewells: list[Record] = []

    def publish(record: Record) -> Cursor:
        cursor = append(record)
        if record.content.type == records.READERS and not farewells:  # type: ignore[union-attr]
            farewells.append(farewell_of(two.desk.member_id))
            append(farewells[0])
            two.hand.bring()
        return cursor

    monkeypatch.setattr(broker, "publish", publish)
    two = Worker(broker)
    run(one.start(Given("a")))
    two.read()
    two.look()
    assert farewells
    assert one.entry.readers == set()
    two.look()
    assert one.entry.readers == {two.desk.member_id}


def test_readers_that_leave_in_a_gap_are_told(one: Worker, two: Worker) -> None:
    """Otherwise the answer would take a reader that has left for a present one."""
    run(one.start(Given("a")))
    reader = two.read()
    two.look()
    told = two.hand.broker.state().records
    two.desk.book.restart()
    for record in told:
        if record.addresses[0].startswith("a:"):
            two.desk.book.take(record)
    reader.drop()
    two.desk.book.caught_up()
    two.look()
    assert one.entry.readers == set()
