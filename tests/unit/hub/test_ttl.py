"""Events with a ttl: the clients that receive them, and those that do not."""

import math
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub.brokers import MemoryBroker, memory
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Retention
from flask_sse_hub.hub.delivery import history
from flask_sse_hub.testing import Clock
from tests.kit.hand import KEEP_ALL, HandHub, HandStream, fields, types
from tests.kit.sockets import LARGE, block, peers, turn

ROOM = address.channel("room")
QUIET = address.channel("quiet")


class Room:
    """A hub whose log and worker share a clock that the test moves."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.time = Clock(1_000_000.0)
        self.broker = broker or MemoryBroker(KEEP_ALL, clock=self.time)
        self.hub = HandHub(self.broker, time_of_day=self.time)

    def join(self, **options: object) -> HandStream:
        return self.hub.stream(channels=("room", "quiet"), **options)

    def say(self, data: str, *, ttl: float | None = None, **options: object) -> str:
        return self.hub.publish(data, to=ROOM, ttl=ttl, **options)

    def hold_up(self, stream: HandStream) -> None:
        """Make a client lag: it has not taken its last bytes for two seconds."""
        stream.sink.writing_since = self.hub.clock() - 2.0


@pytest.fixture
def room() -> Room:
    return Room()


class TestLive:
    @pytest.mark.parametrize("ttl", [0.0, 0.5, 5.0])
    def test_a_client_that_keeps_up_receives_it(self, room: Room, ttl: float) -> None:
        """Several that come at once too, with others between them."""
        stream = room.join()
        for data in "abc":
            room.say(data, ttl=ttl)
            room.say(data.upper())
        room.hub.bring()
        assert stream.data() == ["a", "A", "b", "B", "c", "C"]

    @pytest.mark.parametrize(("ttl", "late"), [(0.0, 5.0), (5.0, 5.0), (60.0, 60.0)])
    def test_a_worker_that_reads_it_too_late_sends_it_to_nobody(
        self, room: Room, ttl: float, late: float
    ) -> None:
        """Others in the same run are sent."""
        stream = room.join()
        room.say("gone", ttl=ttl)
        room.time.advance(late)
        room.say("a", ttl=ttl)
        room.hub.bring()
        assert stream.data() == ["a"]
        assert stream.client.events == 1

    def test_the_clock_of_the_log_counts(self) -> None:
        """Redis may be on a machine whose clock is wrong."""

        class Ahead(MemoryBroker):
            clock_ahead: ClassVar[float] = -100.0

        clock = Clock(1_000_000.0 - 100.0)
        room = Room(Ahead(KEEP_ALL, clock=clock))
        stream = room.join()
        room.say("a", ttl=5.0)
        room.hub.bring()
        assert stream.data() == ["a"]


class TestReadingOn:
    def test_a_client_receives_it_until_its_time_is_over(self, room: Room) -> None:
        """Afterwards it is no gap: the client goes on without a reset."""
        stream = room.join()
        room.say("before")
        room.hub.bring()
        stream.read()
        last_id = stream.drop()
        room.say("typing", ttl=5.0)
        room.say("message")
        room.hub.bring()
        room.time.advance(4.0)
        assert room.join(last_event_id=last_id).data() == ["typing", "message"]
        room.time.advance(1.0)
        again, (greeting, *events) = room.hub.open(
            channels=("room",), last_event_id=last_id
        )
        assert fields(greeting)["resumed"] is True
        assert types([*events, *again.read()]) == ["message"]

    def test_one_with_a_ttl_of_0_is_never_replayed(self, room: Room) -> None:
        """Not even at once, to a client that was away for a moment."""
        stream = room.join()
        room.say("before")
        room.hub.bring()
        stream.read()
        last_id = stream.drop()
        room.say("typing", ttl=0.0)
        room.hub.bring()
        again = room.join(last_event_id=last_id)
        assert again.data() == []
        room.say("now", ttl=0.0)
        room.hub.bring()
        assert again.data() == ["now"]

    def test_a_client_that_lags_passes_over_it(self, room: Room) -> None:
        """It misses what is over, and what is for those who keep up."""
        stream = room.join()
        room.say("1")
        room.hub.bring()
        room.hold_up(stream)
        room.say("0 s", ttl=0.0)
        room.say("2 s", ttl=2.0)
        room.say("9 s", ttl=9.0)
        room.say("2")
        room.hub.bring()
        room.time.advance(3.0)
        stream.sink.writing_since = None
        assert stream.data() == ["1", "9 s", "2"]
        room.say("0 s", ttl=0.0)
        room.hub.bring()
        assert stream.data() == ["0 s"]

    @pytest.mark.parametrize("ttl", [0.0, 5.0])
    def test_the_id_of_one_that_is_over_is_a_place(
        self, room: Room, ttl: float
    ) -> None:
        """Also for a worker that has never seen the record."""
        stream = room.join()
        room.say("typing", ttl=ttl)
        room.hub.bring()
        assert stream.data() == ["typing"]
        last_id = stream.drop()
        room.time.advance(60.0)
        room.say("message")
        room.hub.bring()
        assert room.join(last_event_id=last_id).data() == ["message"]
        room.hub = HandHub(room.broker, time_of_day=room.time)
        assert room.join(last_event_id=last_id).data() == ["message"]

    def test_one_from_before_the_login_resets_nobody_when_it_is_over(
        self, room: Room
    ) -> None:
        """The client would not receive it in any case."""
        start = room.broker.head()
        room.say("typing", ttl=5.0)
        room.hub.bring()
        room.time.advance(60.0)
        options = {"last_event_id": str(start), "not_before": room.time()}
        assert room.join(**options).read() == []


class TestSockets:
    """Clients that fan-outs write to directly."""

    def test_a_ttl_of_0_is_for_those_who_keep_up(self) -> None:
        """A socket that has been full for over a second never takes it."""
        hub = HandHub()
        with peers(hub, 2) as (quick, slow):
            block(slow)
            large = [LARGE] * hub.position.offset
            quick.read_until(large)
            hub.clock.advance(2.0)
            hub.publish("typing", ttl=0.0)
            turn(hub)
            hub.publish("message")
            quick.read_until([*large, "typing", "message"])
            slow.read_until([*large, "message"])

    def test_a_socket_that_is_full_when_it_comes_passes_over_it(self) -> None:
        """The kernel takes no byte of it."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.publish("typing", ttl=0.0)
            hub.follow()
            run = hub.parts.dispatcher.fan_out()
            assert run is not None
            hub.parts.dispatcher.fall_behind(peer.client, run, sent=0)
            hub.parts.writer.look_at(peer.sink)
            hub.publish("message")
            peer.read_until(["message"])


class TestBounds:
    def test_a_flood_resets_no_other_client(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither the broker nor the worker's memory forgets another event by it."""
        for module in (memory, history):
            monkeypatch.setattr(module, "SHORT_LIVED_RECORDS", 4)
        room = Room()
        quiet = room.hub.stream(channels=("quiet",))
        busy = room.join()
        for data in "abc":
            room.hub.publish(data, to=QUIET)
            for _ in range(9):
                room.say("typing", ttl=60.0)
                room.hub.follow()
        room.hub.bring()
        assert quiet.data() == ["a", "b", "c"]
        assert types(busy.read()) == ["reset"]
        again = room.hub.stream(channels=("quiet",), last_event_id=f"{beginning(room)}")
        assert again.data() == ["a", "b", "c"]

    def test_what_the_memory_forgets_is_read_from_the_broker(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The log keeps more, so nothing is lost."""
        monkeypatch.setattr(history, "SHORT_LIVED_RECORDS", 4)
        room = Room()
        start = beginning(room)
        for n in range(9):
            room.say(str(n), ttl=60.0)
            room.hub.bring()
        assert len(room.hub.parts.history) == 4
        found = room.join(last_event_id=f"{start}").data()
        assert found == [str(n) for n in range(9)]

    def test_they_leave_the_memory_when_their_time_is_over(self, room: Room) -> None:
        """The heartbeat's sweep forgets them while nothing comes."""
        for ttl in (0.0, 3.0, 5.0):
            room.say("typing", ttl=ttl)
        room.hub.bring()
        room.time.advance(5.0)
        room.hub.parts.progress.forget_expired()
        assert len(room.hub.parts.history) == 0


def beginning(room: Room) -> Cursor:
    """Return the place before all records of a room."""
    return Cursor(room.broker.head().epoch, 0)


class TestState:
    def values(self, room: Room) -> list[str]:
        stream, events = room.hub.open(channels=("room",), state=True)
        return [
            event.data for event in events + stream.read() if event.type == "message"
        ]

    def test_a_value_leaves_when_its_time_is_over(self, room: Room) -> None:
        """For clients that ask for the state, on old workers and new ones."""
        room.say("1", key="a", ttl=5.0)
        room.say("2", key="b")
        room.hub.bring()
        assert self.values(room) == ["1", "2"]
        room.time.advance(5.0)
        assert self.values(room) == ["2"]
        room.hub = HandHub(room.broker, time_of_day=room.time)
        assert self.values(room) == ["2"]
        room.say("3", key="c")
        room.hub.bring()
        assert [each.key for each in room.broker.state().records] == ["b", "c"]

    def test_a_client_that_lags_does_not_receive_the_value_before(
        self, room: Room
    ) -> None:
        """The value was replaced, although its successor is over."""
        stream = room.join()
        room.hold_up(stream)
        room.say("old", key="a")
        room.say("new", key="a", ttl=5.0)
        room.hub.bring()
        room.time.advance(5.0)
        room.say("other", key="b")
        room.hub.bring()
        stream.sink.writing_since = None
        assert stream.data() == ["other"]

    def test_one_with_a_ttl_of_0_is_no_value(self, room: Room) -> None:
        """Clients that keep up receive it, and the value before it ends."""
        stream = room.join()
        room.say("1", key="a")
        room.say("2", key="a", ttl=0.0)
        room.hub.bring()
        assert stream.data()[-1] == "2"
        assert self.values(room) == []


def test_the_bounds_of_history_do_not_count_them() -> None:
    """History is as long as without them."""
    clock = Clock(1_000_000.0)
    keep = Retention(events=3, seconds=3600.0, bytes=10_000_000)
    hub = HandHub(MemoryBroker(keep, clock=clock), memory=keep, time_of_day=clock)
    start = hub.broker.head()
    for n in range(3):
        hub.publish(str(n), to=ROOM)
        for _ in range(9):
            hub.publish("typing", to=ROOM, ttl=5.0)
        hub.bring()
    clock.advance(5.0)
    stream = hub.stream(channels=("room",), last_event_id=str(start))
    assert stream.data() == ["0", "1", "2"]


#: The ttl of each event, and the seconds that pass after it.
TRAFFIC = st.lists(
    st.tuples(st.sampled_from([None, None, 0.0, 2.0, 60.0]), st.sampled_from([0, 1])),
    max_size=14,
)


@settings(deadline=None, max_examples=60)
@given(before=TRAFFIC, away=TRAFFIC, anew=st.booleans(), bound=st.integers(1, 5))
def test_a_client_is_reset_if_and_only_if_it_lost_an_event(
    before: list[tuple[float | None, int]],
    away: list[tuple[float | None, int]],
    anew: bool,
    bound: int,
) -> None:
    """Otherwise it receives all events that have not ended, in order."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (memory, history):
            patch.setattr(module, "SHORT_LIVED_RECORDS", bound)
        room = Room()
        stream = room.join()
        # The number, ttl and end of all events, and of those that the log has apart.
        log: list[tuple[int, float | None, float]] = []
        held: list[tuple[int, float | None, float]] = []
        lost: set[int] = set()
        for ttl, seconds in (*before, (None, 0), *away):
            if len(log) == len(before):
                seen = len(log)
                stream.data()
                last_id = stream.drop() if seen else str(room.broker.head())
            ends = math.inf if ttl is None else room.time() + (ttl or 5.0)
            log.append((len(log), ttl, ends))
            held = [each for each in held if each[2] > room.time()]
            held += log[-1:] if ttl is not None else []
            while len(held) > bound and held[0] is not log[-1]:
                number, had, _ = held.pop(0)
                lost |= {number} if had else set()
            room.say(str(log[-1][0]), ttl=ttl)
            room.hub.bring()
            room.time.advance(seconds)
        if anew:
            room.hub = HandHub(room.broker, time_of_day=room.time)
        found = room.join(last_event_id=last_id).read()
        missed = log[seen:]
        if lost & {number for number, _, _ in missed}:
            assert types(found) == ["reset"]
        else:
            assert [int(each.data) for each in found] == [
                number
                for number, ttl, ends in missed
                if ttl != 0 and ends > room.time()
            ]
