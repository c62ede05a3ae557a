"""The hub, moved by hand: connect, ends, disconnects, statistics."""

import threading
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable, ClientRefused, ClientStats, CloseReason
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.hub.clients.notices import Listeners
from flask_sse_hub.hub.delivery.history import Cursor, Disconnect, Record, Retention
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.options import HubOptions
from tests.hand import (
    KEEP_ALL,
    FlakyBroker,
    HandHub,
    fields,
    numbered,
)

ALICE = address.user("alice")


class TestConnect:
    def test_the_first_block_greets_the_client(self) -> None:
        """One block says who it is, where it is, and when to come back."""
        hub = HandHub(retry=(3.0, 3.0), heartbeat_interval=7.0)
        stream, (connected,) = hub.open(user="alice", channels=("news",))
        assert connected.type == "connected"
        assert fields(connected) == {
            "client_id": "client-1",
            "user_id": "alice",
            "channels": ["news"],
            "heartbeat": 7.0,
            "resumed": False,
        }
        assert connected.id == str(hub.position)
        assert stream.parser.retry_ms == 3000

    def test_the_reconnect_delay_is_drawn_for_each_client(self) -> None:
        """A restart is no stampede."""
        hub = HandHub(retry=(2.0, 5.0), max_clients_per_user=None)
        delays = {hub.stream().parser.retry_ms for _ in range(20)}
        assert len(delays) > 10
        assert all(delay and 2000 <= delay <= 5000 for delay in delays)

    def test_a_new_client_gets_nothing_of_before(self) -> None:
        """Who does not resume begins at the position."""
        hub = HandHub()
        hub.publish("before")
        hub.bring()
        stream = hub.stream()
        hub.publish("after")
        hub.bring()
        assert stream.data() == ["after"]

    def test_it_is_greeted_with_the_position_and_not_with_the_head(self) -> None:
        """What is in the log but not fanned out yet is still to come."""
        hub = HandHub()
        position = hub.position
        hub.publish("on its way")
        hub.follow()
        stream, (connected,) = hub.open()
        assert connected.id == str(position)
        hub.bring()
        assert stream.data() == ["on its way"]

    def test_a_drop_before_the_first_event_loses_nothing(self) -> None:
        """The greeting's own id is enough to come back with."""
        hub = HandHub()
        last = hub.stream().drop()
        hub.publish("missed")
        hub.bring()
        stream = hub.stream(last_event_id=last)
        assert stream.data() == ["missed"]

    def test_nothing_is_left_of_a_client_that_was_refused(self) -> None:
        """A refusal registers nothing."""
        hub = HandHub(max_clients=1)
        hub.stream()
        with pytest.raises(ClientRefused, match="holds 1 clients"):
            hub.open()
        assert hub.hub.stats().connections == 1
        assert hub.hub.stats().refused == 1


class TestEnds:
    def test_the_first_reason_counts(self) -> None:
        """A stream that ends for two reasons is counted once."""
        hub = HandHub()
        stream = hub.stream()
        hub.hub.dispatcher.close(stream.client, CloseReason.AGE)
        hub.hub.dispatcher.close(stream.client, CloseReason.SHUTDOWN)
        stream.read()
        assert stream.ended
        stream.drop()
        stream.drop()
        assert hub.hub.stats().closed == {"age": 1}

    def test_a_drain_says_when_to_come_back_and_ends(self) -> None:
        """Each client has a delay of its own, and the last bytes are whole."""
        hub = HandHub(retry=(2.0, 5.0))
        streams = [hub.stream(user=f"u{n}") for n in range(5)]
        for stream in streams:
            stream.parser.retry_ms = None
            hub.hub.dispatcher.close(stream.client, CloseReason.SHUTDOWN)
            assert stream.read() == []
            assert stream.ended
        delays = {stream.parser.retry_ms for stream in streams}
        assert None not in delays
        assert len(delays) > 1

    def test_other_ends_have_no_farewell(self) -> None:
        """Only a drain has something to say."""
        hub = HandHub()
        stream = hub.stream()
        stream.parser.retry_ms = None
        hub.hub.dispatcher.close(stream.client, CloseReason.AGE)
        stream.read()
        assert stream.parser.retry_ms is None

    def test_a_drain_cuts_off_who_does_not_take_the_farewell(self) -> None:
        """A worker on its way out does not wait for a stalled client."""
        hub = HandHub()
        stream = hub.stream()
        hub.hub.drain()
        assert stream.sink.cuts == 1

    def test_no_client_is_taken_in_while_draining(self) -> None:
        """It would be thrown out at once; publishing goes on."""
        hub = HandHub()
        hub.hub.drain()
        with pytest.raises(ClientRefused, match="going away"):
            hub.open()
        hub.publish("still works")

    def test_a_client_that_came_during_the_drain_leaves_with_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was let in a moment before."""
        hub = HandHub()
        monkeypatch.setattr(hub.hub.admission, "check", lambda *_: None)
        hub.hub.drain()
        stream = hub.stream()
        stream.read()
        assert stream.ended
        assert stream.client.close_reason is CloseReason.SHUTDOWN

    def test_the_end_is_told_once_with_its_figures(self) -> None:
        """Receivers get who, why, how long and how much."""
        told: list[tuple[str, ClientStats, Any]] = []
        hub = HandHub(
            listeners=Listeners(
                connected=lambda client: told.append(("came", client, None)),
                disconnected=lambda client, why: told.append(("left", client, why)),
            )
        )
        stream = hub.stream(user="alice", metadata={"page": "inbox"})
        hub.publish("x")
        hub.bring()
        stream.read()
        hub.clock.advance(12.0)
        stream.drop()
        stream.drop()
        (came, first, _), (left, last, why) = told
        assert (came, left, why) == ("came", "left", CloseReason.CLIENT_GONE)
        assert first.metadata == last.metadata == {"page": "inbox"}
        assert (last.user_id, last.age, last.events) == ("alice", 12.0, 1)
        assert last.bytes == len(stream.raw)

    def test_a_receiver_that_fails_harms_nobody(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its error is logged; the stream goes on."""

        def fail(*_: object) -> None:
            raise RuntimeError("a bug in the app")

        hub = HandHub(listeners=Listeners(connected=fail, disconnected=fail))
        hub.stream().drop()
        assert caplog.text.count("RuntimeError: a bug in the app") == 2
        assert hub.hub.stats().connections == 0


class TestDisconnect:
    def test_it_ends_the_streams_of_a_user_everywhere(self) -> None:
        """Here at once, on other workers through the log."""
        broker = MemoryBroker(KEEP_ALL)
        here, there = HandHub(broker), HandHub(broker)
        mine, other = here.stream(user="alice"), here.stream(user="bob")
        far = there.stream(user="alice")
        here.hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        mine.read()
        other.read()
        assert mine.ended
        assert not other.ended
        _wait_for_record(broker)
        there.bring()
        far.read()
        assert far.ended
        assert far.client.close_reason is CloseReason.DISCONNECTED

    def test_yesterdays_never_ends_todays_stream(self) -> None:
        """Only what comes after the user was loaded concerns a client."""
        broker = MemoryBroker(KEEP_ALL)
        hub = HandHub(broker)
        hub.hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        _wait_for_record(broker)
        stream = hub.stream(user="alice")
        hub.bring()
        stream.read()
        assert not stream.ended

    def test_what_came_between_login_check_and_stream_counts(self) -> None:
        """A user who is loaded, then logged out, then let in does not stay."""
        broker = MemoryBroker(KEEP_ALL)
        hub = HandHub(broker)
        since = broker.head()
        hub.hub.disconnect((ALICE,), reason=CloseReason.SESSION_ENDED)
        _wait_for_record(broker)
        hub.bring()
        stream = hub.stream(user="alice", since=since)
        stream.read()
        assert stream.ended
        assert stream.client.close_reason is CloseReason.SESSION_ENDED

    def test_a_client_whose_check_lies_too_far_back_does_not_stay(self) -> None:
        """What happened since cannot be told any more."""
        hub = HandHub(memory=Retention(2, 3600.0, 10_000_000))
        since = hub.broker.head()
        list(numbered(hub, 10))
        hub.bring()
        stream = hub.stream(user="alice", since=since)
        stream.read()
        assert stream.client.close_reason is CloseReason.GAP

    def test_a_worker_that_starts_acts_on_nothing_that_was_before(self) -> None:
        """Its memory is filled with control records too, and they are history."""
        broker = MemoryBroker(KEEP_ALL)
        HandHub(broker).hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        _wait_for_record(broker)
        late = HandHub(broker)
        stream = late.stream(user="alice")
        late.bring()
        stream.read()
        assert not stream.ended

    def test_a_resuming_client_is_not_ended_by_what_it_missed(self) -> None:
        """A control record between its cursor and its login is over."""
        broker = MemoryBroker(KEEP_ALL)
        hub = HandHub(broker)
        last = hub.stream(user="alice").drop()
        hub.hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        _wait_for_record(broker)
        hub.publish("missed")
        hub.bring()
        stream = hub.stream(user="alice", last_event_id=last)
        assert stream.data() == ["missed"]
        assert not stream.ended

    def test_a_write_in_progress_is_cut_short(self) -> None:
        """A stream whose session ended does not wait for its client to read."""
        hub = HandHub()
        stream = hub.stream(user="alice")
        stream.sink.writing_since = hub.clock()
        hub.hub.dispatcher.close(stream.client, CloseReason.SESSION_ENDED)
        assert stream.sink.cuts == 1

    def test_it_is_tried_again_while_the_broker_is_away(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Logging out neither fails nor waits; the record follows later."""
        broker = AwayForPublish(KEEP_ALL, times=2)
        hub = HandHub(broker)
        waits: list[float] = []
        monkeypatch.setattr("flask_sse_hub.hub.control.time.sleep", waits.append)
        hub.hub._control.append(_control())
        assert waits == [1.0, 2.0]
        assert broker.head().offset == 1
        assert "not ended yet" in caplog.text

    def test_it_gives_up_aloud(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A thread does not live for ever because of a broker that never comes back."""
        hub = HandHub(AwayForPublish(KEEP_ALL, times=1000))
        monkeypatch.setattr(
            "flask_sse_hub.hub.control.time.sleep", lambda seconds: None
        )
        hub.hub._control.append(_control())
        assert "could not be ended" in caplog.text


class AwayForPublish(MemoryBroker):
    """A memory broker that cannot be published to a number of times."""

    def __init__(self, retention: Retention, *, times: int) -> None:
        super().__init__(retention)
        self._times = times

    def publish(self, record: Any) -> Cursor:
        self._times -= 1
        if self._times >= 0:
            raise BrokerUnavailable("away")
        return super().publish(record)


def _control() -> Any:
    return Record((ALICE,), Disconnect("disconnected"))


def _wait_for_record(broker: MemoryBroker) -> None:
    """Wait until the background thread has appended its control record."""
    next(broker.follow(Cursor(broker.head().epoch, 0)))


class TestStats:
    def test_they_count_what_happened(self) -> None:
        """Connections, users, channels, events and bytes, in and out."""
        hub = HandHub()
        ann = hub.stream(user="alice", channels=("news",))
        tab = hub.stream(user="alice", channels=("news", "sport"))
        anonymous = hub.stream()
        hub.publish("hello")
        hub.bring()
        for stream in (ann, tab, anonymous):
            stream.read()
        ann.sink.writing_since = hub.clock() - 5.0
        anonymous.drop()
        stats = hub.hub.stats(clients=True)
        assert stats.connections == 2
        assert stats.users == 1
        assert stats.channels == {"news": 2, "sport": 1}
        assert stats.delivery == {"hand": 2}
        assert stats.lagging == 1
        assert stats.opened == 3
        assert stats.closed == {"client_gone": 1}
        assert stats.events_in == 1
        assert stats.events_out == 3
        assert stats.bytes_out == sum(len(s.raw) for s in (ann, tab, anonymous))
        assert stats.history_events == 1
        assert stats.position == str(hub.position)
        assert not stats.draining
        assert [client.id for client in stats.clients] == ["client-1", "client-2"]

    def test_clients_are_only_listed_when_asked_for(self) -> None:
        """With ten thousand of them the answer would be long."""
        hub = HandHub()
        hub.stream()
        assert hub.hub.stats().clients == ()


class TestCursor:
    def test_it_is_the_head_of_the_log(self) -> None:
        """A page that is rendered after an event does not get it again."""
        hub = HandHub()
        assert str(hub.hub.cursor()) == str(hub.position)
        assert hub.publish("x") == str(hub.hub.cursor())

    def test_it_is_the_position_while_the_broker_is_away(self) -> None:
        """At most some events come twice; none is missed."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker)
        broker.away = True
        assert hub.hub.cursor() == hub.position

    def test_without_a_position_the_error_is_told(self) -> None:
        """A process that follows nothing has no other answer."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker)
        hub.hub._ready.clear()
        broker.away = True
        with pytest.raises(BrokerUnavailable):
            hub.hub.cursor()


class TestWhatReviewsFound:
    """Faults that were seen once, each provoked as it was found."""

    def test_a_final_disconnect_bars_streams_that_are_opened_later(self) -> None:
        """A request may have read its session before the logout, and come after it."""
        broker = MemoryBroker(KEEP_ALL)
        here, there = HandHub(broker), HandHub(broker)
        here.hub.disconnect(
            (address.session("s1"),), reason=CloseReason.SESSION_ENDED, final=True
        )
        _wait_for_record(broker)
        for hub in (here, there):
            hub.bring()
            stream = hub.stream(user="alice", session="s1", since=broker.head())
            hub.publish("secret", to=ALICE)
            hub.bring()
            assert stream.read() == []
            assert stream.client.close_reason is CloseReason.SESSION_ENDED

    def test_an_unknown_reason_ends_streams_all_the_same(self) -> None:
        """A newer version on another worker may give one."""
        hub = HandHub()
        stream = hub.stream(user="alice")
        hub.broker.publish(Record((ALICE,), Disconnect("of the future")))
        hub.bring()
        stream.read()
        assert stream.client.close_reason is CloseReason.DISCONNECTED

    def test_a_thread_that_cannot_start_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next stream is not refused for what was short a moment ago."""
        hub = Hub(MemoryBroker(KEEP_ALL), HubOptions())
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_room)
            with pytest.raises(BrokerUnavailable, match="no room"):
                hub.start()
            hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        assert hub.broker.head().offset == 1
        hub.start()
        hub.close()

    def test_closing_a_hub_ends_its_streams(self) -> None:
        """Whoever waits in one is woken."""
        hub = HandHub()
        stream = hub.stream()
        hub.hub.close()
        stream.read()
        assert stream.ended


def _no_room(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
