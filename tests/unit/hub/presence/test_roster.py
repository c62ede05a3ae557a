"""Presence on several workers: each person comes once, and leaves once."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from operator import and_
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable
from flask_sse_hub.brokers import Broker, MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Record, Retention
from flask_sse_hub.hub.clients.close_reason import CloseReason
from flask_sse_hub.hub.clients.present_client import Seat
from flask_sse_hub.hub.members import MISSED_BEATS
from flask_sse_hub.hub.presence import roster
from tests.kit.hand import KEEP_ALL, fields
from tests.kit.people import ROOM, Company, Tab, Worker, check_order

SEAT = Seat(ROOM, "ann")
GRACE = 15
#: Longer than a grace and the tries of all workers.
LONG = GRACE + 5


@pytest.fixture
def company() -> Company:
    return Company()


def log_of(broker: Broker) -> Sequence[Record]:
    start = Cursor(broker.head().epoch, 0)
    return broker.replay(start, page=10_000).records


def records_of(broker: Broker, kind: str) -> list[Record]:
    return [each for each in log_of(broker) if f'"type":"{kind}"' in _data(each)]


def _data(record: Record) -> str:
    return getattr(record.content, "data", "")


def test_a_person_with_tabs_on_two_workers_joins_once(company: Company) -> None:
    """One record makes a join. The number of tabs follows a little later."""
    one, two = company.workers
    watching = one.tab("watcher")
    company.settle()
    watching.changes()
    before = company.broker.head().offset
    one.tab("ann")
    company.settle()
    assert company.broker.head().offset == before + 1
    one.tab("ann")
    two.tab("ann")
    company.wait(5)
    assert watching.changes() == ["join ann"]
    assert two.devices()["ann"] == 3
    company.check()


def test_two_workers_that_see_a_person_at_one_moment_write_one_join(
    company: Company,
) -> None:
    """The loser of the race finds the other's join in the log."""
    one, two = company.workers
    watching = one.tab("watcher")
    two.tab("other")
    company.settle()
    one.tab("ann")
    two.tab("ann")
    one.roster.step()
    two.roster.step()
    company.wait(3)
    assert watching.changes() == ["join watcher", "join other", "join ann"]
    company.check()


def test_a_person_leaves_after_the_grace(company: Company) -> None:
    """One record results, although both workers wait for it."""
    one, two = company.workers
    watching, tab = one.tab("watcher"), two.tab("ann")
    company.settle()
    two.close_tab(tab)
    company.wait(GRACE - 1)
    assert watching.changes() == ["join watcher", "join ann"]
    assert one.devices()["ann"] == 0
    company.wait(6)
    assert watching.changes() == ["leave ann"]
    assert len(records_of(company.broker, "leave")) == 1
    company.check()


def test_a_reload_writes_nothing(company: Company) -> None:
    """Neither does a reload on the same worker tell the others."""
    one, _ = company.workers
    tab = one.tab("ann")
    company.wait(6)
    before = company.broker.head()
    one.close_tab(tab)
    company.settle()
    one.tab("ann")
    company.settle()
    assert company.broker.head() == before


def test_a_reload_on_another_worker_is_no_leave(company: Company) -> None:
    """The other worker says that the person is there."""
    one, two = company.workers
    watching, tab = one.tab("watcher"), two.tab("ann")
    company.wait(3)
    two.close_tab(tab)
    company.wait(5)
    one.tab("ann")
    company.wait(LONG)
    assert watching.changes() == ["join watcher", "join ann"]
    company.check()


def test_a_killed_worker_is_written_off_once(company: Company) -> None:
    """Its people leave once, a grace after its beats are missed."""
    one, two = company.workers
    three = company.hire()
    watching = one.tab("watcher")
    two.tab("other")
    for name in ("ann", "bob"):
        three.tab(name)
    company.wait(6)
    company.kill(three)
    company.wait(5 * (MISSED_BEATS + 2) + LONG)
    assert watching.changes()[-2:] in (
        ["leave ann", "leave bob"],
        ["leave bob", "leave ann"],
    )
    assert len(records_of(company.broker, "leave")) == 2
    company.check()
    state = company.broker.state().records
    gone = address.worker(three.parts.members.own_id)
    assert [each for each in state if gone in each.addresses] == []


def test_the_leaves_of_many_people_are_paced(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step writes some of one channel after the other, and waits to read them.

    Leaves of one channel that follow each other reach a client in one write.
    """
    monkeypatch.setattr(roster, "_MOST_RECORDS", 8)
    one, two = company.workers
    rooms = ["room.1", "room.2", "room.3"]
    watching = one.tab("watcher", *rooms)
    for number in range(30):
        two.tab(f"user-{number}", rooms[number % 3], sees=False)
    company.wait(6)
    company.kill(two)
    written = [0]
    while written[-1] < 30:
        company.clock.advance(1.0)
        one.parts.members.beat()
        one.bring()
        for _ in range(2):
            # The second step finds that the records of the first one are not read.
            one.roster.step()
            written.append(len(records_of(company.broker, "leave")))
    company.settle()
    steps = [after - before for before, after in pairwise(written)]
    assert [each for each in steps if each] == [8, 8, 8, 6]
    assert not any(map(and_, steps[::2], steps[1::2]))
    leaves = [each.addresses for each in records_of(company.broker, "leave")]
    assert sum(a != b for a, b in pairwise(leaves)) == 2
    assert len([each for each in watching.changes() if each.startswith("leave")]) == 30


def test_people_of_a_killed_worker_who_come_back_do_not_leave(
    company: Company,
) -> None:
    """A restarted worker has their streams again within the grace."""
    one, two = company.workers
    watching = one.tab("watcher")
    two.tab("ann")
    company.wait(6)
    company.kill(two)
    company.wait(2)
    company.hire().tab("ann")
    company.wait(60)
    assert watching.changes() == ["join watcher", "join ann"]
    company.check()


def test_a_worker_that_was_stopped_comes_back_without_a_change(
    company: Company,
) -> None:
    """It finds itself written off, and writes its entries again within the grace."""
    one, two = company.workers
    watching = one.tab("watcher")
    two.tab("ann")
    closed = two.tab("bob")
    company.wait(6)
    two.is_stopped = True
    company.wait(5 * (MISSED_BEATS + 2))
    assert one.devices() == {"watcher": 1, "ann": 0, "bob": 0}
    two.is_stopped = False
    two.close_tab(closed)
    company.wait(6)
    assert one.devices() == {"watcher": 1, "ann": 1, "bob": 0}
    company.wait(LONG)
    assert watching.changes() == ["join watcher", "join ann", "join bob", "leave bob"]
    company.check()
    # A worker that begins now finds nothing of the time before.
    company.hire()
    company.check()


def test_a_drained_worker_hands_its_people_over(company: Company) -> None:
    """A deploy is no leave for people who reconnect in time."""
    one, two = company.workers
    watching, tab = one.tab("watcher"), two.tab("ann")
    company.wait(6)
    two.close_tab(tab)
    two.hub.drain()
    company.kill(two)
    company.settle()
    assert one.devices()["ann"] == 0
    one.tab("ann")
    company.wait(LONG)
    assert watching.changes() == ["join watcher", "join ann"]
    company.check()


def test_a_reconnect_storm_after_a_restart_writes_no_join_and_no_leave() -> None:
    """All workers stop, and others have all of the people again."""
    company = Company()
    names = [f"user-{number}" for number in range(50)]
    for name in names:
        company.workers[0].tab(name, sees=False)
    company.wait(6)
    for worker in list(company.workers):
        for tab in list(worker.tabs):
            worker.close_tab(tab)
        worker.hub.drain()
        company.kill(worker)
    company.hire()
    new = company.hire()
    for name in names:
        new.tab(name, sees=False)
    company.wait(LONG)
    company.check()
    assert len(records_of(company.broker, "join")) == 50
    assert records_of(company.broker, "leave") == []


def test_a_full_room_is_known_on_three_workers() -> None:
    """300 people have one to four tabs each. One worker is killed, and some leave."""
    company = Company(workers=3)
    one, two, three = company.workers
    watching = [one.tab("watcher"), two.tab("watcher")]
    company.settle()
    for number in range(300):
        for tab in range(1 + number % 4):
            worker = company.workers[(number + tab) % 3]
            worker.tab(f"user-{number}", sees=False)
    company.wait(6)
    company.check()
    company.kill(three)
    for moved in one.tabs[1:]:
        user = str(moved.stream.client.identity.user)
        if user < "user-2":
            one.close_tab(moved)
            two.tab(user, sees=False)
    company.wait(60)
    company.check()
    first, second = (each.changes() for each in watching)
    assert first == second
    check_order(first)
    assert len([each for each in first if each.startswith("join")]) == 301
    gone = {f"user-{number}" for number in range(300)} - set(one.users())
    assert sorted(each for each in first if each.startswith("leave")) == sorted(
        f"leave {user}" for user in gone
    )
    assert gone


class Away(MemoryBroker):
    """A memory broker that takes nothing while it is away."""

    away = False

    def publish(self, record: Record) -> Cursor:
        if self.away:
            raise BrokerUnavailable("away")
        return super().publish(record)


def test_an_outage_makes_answers_stale_and_nobody_leaves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The graces begin again when the log can be read again. One line is logged."""
    broker = Away(KEEP_ALL)
    company = Company(broker)
    one, two = company.workers
    watching, tab = one.tab("watcher"), two.tab("ann")
    company.wait(6)
    two.close_tab(tab)
    company.wait(8)
    broker.away = True
    one.tab("bob")
    for _ in range(60):
        company.clock.advance(1.0)
        company.settle()
    assert one.roster.stale
    assert one.roster.people(ROOM).stale
    assert caplog.text.count("cannot be written") == 1
    broker.away = False
    two.parts.members.beat()
    one.parts.members.beat()
    company.settle()
    assert not one.roster.stale
    two.tab("ann")
    company.wait(LONG)
    assert watching.changes() == ["join watcher", "join ann", "join bob"]
    company.check()


class BreaksOff(MemoryBroker):
    """A memory broker that takes no more than some further records."""

    left = 10_000

    def publish(self, record: Record) -> Cursor:
        if self.left == 0:
            raise BrokerUnavailable("away")
        self.left -= 1
        return super().publish(record)


def test_a_step_that_breaks_off_goes_on_before_its_records_are_read() -> None:
    """The follower may be slower than a grace to find the broker again."""
    broker = BreaksOff(KEEP_ALL)
    company = Company(broker, workers=1)
    (worker,) = company.workers
    worker.tab("ann")
    company.settle()
    for name in ("bob", "cat", "dan"):
        worker.tab(name)
    broker.left = 1
    worker.roster.step()
    broker.left = 10_000
    company.clock.advance(1.0)
    worker.roster.step()
    assert len(records_of(broker, "join")) == 4


def test_a_stream_neither_fails_nor_waits_without_a_broker(company: Company) -> None:
    """Only the task writes."""
    worker = company.workers[0]
    before = company.broker.head()
    worker.tab("ann")
    assert company.broker.head() == before


def test_a_worker_that_begins_knows_the_people(company: Company) -> None:
    """They may have come long before its memory begins."""
    one, _ = company.workers
    one.tab("ann", data='{"name":"Ann"}')
    company.wait(3)
    late = company.hire()
    (ann,) = late.roster.people(ROOM)
    assert (ann.user, ann.devices, ann.data) == ("ann", 1, {"name": "Ann"})
    assert late.roster.channels("ann") == [ROOM]


def test_nothing_depends_on_trimmed_history() -> None:
    """A worker that was overtaken by the trim finds everybody in the state."""
    broker = MemoryBroker(Retention(events=5, seconds=3600.0, bytes=10_000_000))
    company = Company(broker)
    one, two = company.workers
    tabs = [one.tab(f"user-{number}", sees=False) for number in range(20)]
    company.wait(3)
    two.is_stopped = True
    for tab in tabs[:5]:
        one.close_tab(tab)
    company.wait(LONG)
    two.is_stopped = False
    company.wait(LONG)
    company.check()


def test_a_changed_description_is_an_update(company: Company) -> None:
    """Another worker with the old one does not write it back."""
    one, two = company.workers
    watching = one.tab("watcher")
    one.tab("ann", data='{"page":"a"}')
    company.settle()
    two.tab("ann", data='{"page":"b"}')
    company.wait(6)
    assert watching.changes() == ["join watcher", "join ann", "update ann"]
    assert [each.data for each in one.roster.people(ROOM)][1] == {"page": "b"}


def test_anonymous_people_are_counted_and_not_listed(company: Company) -> None:
    """No client hears of them."""
    one, two = company.workers
    watching = one.tab("watcher")
    tab = two.tab(None)
    two.tab(None)
    company.wait(3)
    assert one.roster.people(ROOM).anonymous == 2
    assert one.users() == ["watcher"]
    two.close_tab(tab)
    company.wait(3)
    assert watching.changes() == ["join watcher"]
    company.check()


def test_an_open_stream_enters_a_channel_and_leaves_it(company: Company) -> None:
    """It joins at once, and leaves after the grace, without a connection."""
    one, two = company.workers
    watching = one.tab("watcher", "b")
    tab = two.tab("ann", "a")
    company.settle()
    two.move_tab(tab, to="b", data='{"page":1}')
    company.settle()
    assert one.roster.channels("ann") == ["a", "b"]
    assert one.roster.people("b")[1].data == {"page": 1}
    assert tab.changes() == ["join ann", "join ann"]
    two.move_tab(tab, away="a")
    company.wait(GRACE - 2)
    assert one.roster.channels("ann") == ["a", "b"]
    company.wait(LONG)
    assert one.roster.channels("ann") == ["b"]
    # A page may say again where it is, with another description.
    two.move_tab(tab, to="b", data='{"page":2}')
    company.wait(3)
    assert one.devices("b") == {"watcher": 1, "ann": 1}
    # Or nobody may see the user there any more.
    two.move_tab(tab, to="b", data=None)
    company.wait(LONG)
    assert one.users("b") == ["watcher"]
    two.close_tab(tab)
    company.wait(LONG)
    seen = ["join watcher", "join ann", "update ann", "leave ann"]
    assert watching.changes() == seen
    assert tab.changes() == ["update ann", "leave ann"]


def test_the_cookie_of_an_ended_session_makes_nobody_present(company: Company) -> None:
    """Its streams end as soon as they begin, and nobody sees them."""
    one = company.workers[0]
    ended = (address.session("s"),)
    one.hub.disconnect(ended, reason=CloseReason.SESSION_ENDED, final=True)
    company.settle()
    stream = one.stream(user="ann", session="s", channels=(ROOM,), seats=[SEAT])
    assert stream.client.close_reason is CloseReason.SESSION_ENDED
    company.wait(2)
    assert one.users() == []
    stream.drop()


def test_a_change_comes_before_and_after_the_life_of_a_stream(company: Company) -> None:
    """Of its begin, its changes and its end, none is counted twice or too late."""
    worker = company.workers[0]
    tab = worker.tab("ann", "a")
    client = tab.stream.client
    # As another thread would, between the greeting and the note of the begin.
    worker.roster.moved(client)
    company.settle()
    assert worker.devices("a") == {"ann": 1}
    worker.close_tab(tab)
    worker.roster.moved(client)
    worker.roster.left(client)
    company.wait(LONG)
    assert worker.users("a") == []


def test_the_confirmation_brings_the_people(company: Company) -> None:
    """Those of the new channel, and those of one that is asked for again."""
    one, two = company.workers
    two.tab("ann", "b")
    company.wait(3)
    tab = Tab(
        one.stream(
            user="cat",
            channels=("a",),
            regrant=lambda grant: grant,
            seats=[Seat("a", "cat")],
            sees=["a"],
            lists=True,
        )
    )
    company.settle()
    for name in ("b", "b", "a"):
        one.move_tab(tab, to=name)
    one.move_tab(tab, away="b")
    one.bring()
    events = [each for each in tab.stream.read() if each.type == "subscribed"]
    found = [
        {
            name: [person["user"] for person in each["people"]]
            for name, each in fields(event).get("presence", {}).items()
        }
        for event in events
    ]
    assert found == [{"b": ["ann"]}, {"b": ["ann"]}, {"a": ["cat"]}, {}]


def test_each_signal_is_sent_by_one_process(company: Company) -> None:
    """A user who goes from channel to channel has not left."""
    one, two = company.workers
    tab = two.tab("ann", "a")
    company.settle()
    other = one.tab("ann", "b")
    company.settle()
    two.close_tab(tab)
    company.wait(LONG)
    one.close_tab(other)
    company.wait(LONG)
    company.hire()
    assert sorted(one.told + two.told) == [
        *("came ann", "left ann"),
        *("occupied a", "occupied b", "vacated a", "vacated b"),
    ]
    assert "came ann" in two.told


def test_a_person_may_come_again() -> None:
    """Also on a worker that does not know of the last time: its record is trimmed."""
    broker = MemoryBroker(Retention(events=12, seconds=3600.0, bytes=10_000_000))
    company = Company(broker)
    one, _ = company.workers
    one.tab("watcher")
    for worker in (one, one, company.hire()):
        tab = worker.tab("ann")
        company.settle()
        assert one.users() == ["watcher", "ann"]
        worker.close_tab(tab)
        company.wait(60)
        assert one.users() == ["watcher"]
    late = company.hire()
    late.tab("ann")
    company.settle()
    assert one.users() == ["watcher", "ann"]


def test_the_list_fits_the_events_after_it(company: Company) -> None:
    """It comes with ``connected``, and is not older than the client's place."""
    one, two = company.workers
    one.tab("ann", data='{"name":"Ann"}')
    two.tab(None)
    company.wait(3)
    two.tab("bob")
    two.bring()
    two.roster.step()
    one.follow()  # Read and not fanned out yet.
    stream, greeting = one.open(user="cat", seats=[], sees=[ROOM], lists=True)
    listed = fields(greeting[0])["presence"][ROOM]
    assert [each["user"] for each in listed["people"]] == ["ann", "bob"]
    assert listed["people"][0]["data"] == {"name": "Ann"}
    assert listed["anonymous"] == 1
    one.bring()
    tab = Tab(stream)
    tab.read()
    assert tab.seen == ["join bob"]


def test_a_reset_brings_the_list_again(company: Company) -> None:
    """The events between may be lost."""
    one, _ = company.workers
    one.tab("ann")
    company.settle()
    stream, _ = one.open(
        user="cat", seats=[], sees=[ROOM], lists=True, last_event_id="nonsense"
    )
    (reset,) = [each for each in stream.read() if each.type == "reset"]
    assert [each["user"] for each in fields(reset)["presence"][ROOM]["people"]] == [
        "ann"
    ]


def test_a_channel_has_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    """Further people are not listed, and their streams go on."""
    company = Company(workers=0)
    worker = company.hire(presence_people=2)
    for name in ("ann", "bob", "cat", "dan"):
        worker.tab(name)
    company.wait(3)
    assert len(worker.users()) == 2
    assert caplog.text.count("SSE_HUB_PRESENCE_PEOPLE") == 1
    worker.close_tab(worker.tabs[0])
    company.wait(80)
    assert len(worker.users()) == 2
    assert "ann" not in worker.users()


def test_a_full_state_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """People for whom there is no room are listed once there is some."""
    keep = Retention(events=9_999, seconds=3600.0, bytes=10_000_000, state_keys=4)
    company = Company(MemoryBroker(keep), workers=0)
    worker = company.hire()
    for name in ("ann", "bob"):
        worker.tab(name)
    company.wait(3)
    assert worker.users() == ["ann"]
    assert caplog.text.count("some people are present") == 1
    worker.close_tab(worker.tabs[0])
    company.wait(LONG + 60)
    assert worker.users() == ["bob"]


def test_a_worker_that_is_behind_beats_once(company: Company) -> None:
    """A worker counts its own beats: more of them would write the others off."""
    one, _ = company.workers
    for number in range(20):
        one.tab(f"user {number}")
        one.roster.step()
        company.clock.advance(1)
    one.follow()
    beats = [record for record in log_of(company.broker) if record.key == "beat"]
    assert len(beats) == 1


def test_records_of_another_program_change_nothing(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    """They are passed over."""
    one, _ = company.workers
    one.tab("ann", sees=False)
    company.settle()
    (join,) = records_of(company.broker, "join")
    for data in ("7", '{"type":"join"}', _data(join).replace("ann", "bob")):
        bad = type(join.content)(data, type="presence")  # type: ignore[call-arg, arg-type]
        with caplog.at_level(logging.WARNING):
            company.broker.publish(Record(join.addresses, bad, key=join.key))
            company.settle()
    assert one.users() == ["ann"]
    assert "could not be read" in caplog.text


def test_a_fault_of_the_log_ends_no_task(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Presence is written again after it. Streams and the worker go on."""
    worker = company.workers[0]
    worker.tab("ann")
    company.settle()

    def fail(_: Any) -> Cursor:
        raise ValueError("a bug of the broker")

    with monkeypatch.context() as broken:
        broken.setattr(worker.roster, "_append", fail)
        worker.tab("bob")
        worker.roster.step()
    worker.tab("cat")
    company.settle()
    assert "a bug of the broker" in caplog.text
    company.wait(2)
    assert worker.users() == ["ann", "cat", "bob"]


def test_the_checker_finds_planted_faults(company: Company) -> None:
    """A lost entry makes an answer wrong. A doubled leave is out of order."""
    one, _ = company.workers
    watching = one.tab("watcher")
    tab = one.tab("ann")
    company.wait(3)
    one.tabs.remove(tab)
    with pytest.raises(AssertionError):
        company.check()
    tab.stream.drop()
    company.wait(LONG)
    (leave,) = records_of(company.broker, "leave")
    company.broker.publish(replace(leave, idempotency_key=None))
    company.settle()
    with pytest.raises(AssertionError, match="ann left twice"):
        check_order(watching.changes())


def test_a_worker_without_presence_writes_nothing() -> None:
    """Nor does one in whose channels nobody is."""
    company = Company()
    worker: Worker = company.workers[0]
    worker.stream(user="ann")
    before = company.broker.head()
    company.wait(LONG)
    assert company.broker.head() == before
