"""The hub, moved by hand: connecting, closing, disconnects and statistics."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flask_sse_hub import (
    BrokerUnavailable,
    ClientRefused,
    ClientStats,
    CloseReason,
    Event,
)
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, Disconnect, Record, Retention
from flask_sse_hub.hub.clients.notices import Listeners
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.lifecycle import _DRAIN_SECONDS
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from flask_sse_hub.hub.receipts.fold import Receipt
from tests.kit.hand import (
    KEEP_ALL,
    FlakyBroker,
    HandHub,
    fields,
    numbered,
)

ALICE = address.user("alice")


def while_draining(step: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Have each pause of a drain take most of its time, and do something in it."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += 0.9 * _DRAIN_SECONDS
        step()

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    patch.setattr("flask_sse_hub.hub.lifecycle.time", clock)


class TestConnect:
    def test_the_first_block_greets_the_client(self) -> None:
        """The first block carries the client's id, its position and its retry delay."""
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
        """Clients do not all come back at the same moment after a restart."""
        hub = HandHub(retry=(2.0, 5.0), max_clients_per_user=None)
        delays = {hub.stream().parser.retry_ms for _ in range(20)}
        assert len(delays) > 10
        assert all(delay and 2000 <= delay <= 5000 for delay in delays)

    def test_a_new_client_does_not_receive_earlier_events(self) -> None:
        """A client that does not resume begins at the position."""
        hub = HandHub()
        hub.publish("before")
        hub.bring()
        stream = hub.stream()
        hub.publish("after")
        hub.bring()
        assert stream.data() == ["after"]

    def test_the_greeting_has_the_position_and_not_the_head(self) -> None:
        """Events in the log that are not fanned out yet are still delivered."""
        hub = HandHub()
        position = hub.position
        hub.publish("on its way")
        hub.follow()
        stream, (connected,) = hub.open()
        assert connected.id == str(position)
        hub.bring()
        assert stream.data() == ["on its way"]

    def test_a_drop_before_the_first_event_loses_nothing(self) -> None:
        """The client can resume from the id of the greeting alone."""
        hub = HandHub()
        last = hub.stream().drop()
        hub.publish("missed")
        hub.bring()
        stream = hub.stream(last_event_id=last)
        assert stream.data() == ["missed"]

    def test_nothing_is_left_of_a_client_that_was_refused(self) -> None:
        """A refused client is not registered."""
        hub = HandHub(max_clients=1)
        hub.stream()
        with pytest.raises(ClientRefused, match="holds 1 clients"):
            hub.open()
        assert hub.hub.stats().connections == 1
        assert hub.hub.stats().refused == 1


class TestEnds:
    def test_the_first_close_reason_counts(self) -> None:
        """A stream that is closed for two reasons is counted once."""
        hub = HandHub()
        stream = hub.stream()
        hub.parts.lifecycle.close(stream.client, CloseReason.AGE)
        hub.parts.lifecycle.close(stream.client, CloseReason.SHUTDOWN)
        stream.read()
        assert stream.ended
        stream.drop()
        stream.drop()
        assert hub.hub.stats().closed == {"age": 1}

    def test_a_drain_sends_a_retry_delay_and_ends(self) -> None:
        """Each client has a delay of its own, and the last bytes are whole."""
        hub = HandHub(retry=(2.0, 5.0))
        streams = [hub.stream(user=f"u{n}") for n in range(5)]
        for stream in streams:
            stream.parser.retry_ms = None
            hub.parts.lifecycle.close(stream.client, CloseReason.SHUTDOWN)
            assert stream.read() == []
            assert stream.ended
        delays = {stream.parser.retry_ms for stream in streams}
        assert None not in delays
        assert len(delays) > 1

    def test_a_stream_that_ends_by_age_sends_no_retry_delay(self) -> None:
        """The client keeps the retry delay that its greeting set."""
        hub = HandHub()
        stream = hub.stream()
        stream.parser.retry_ms = None
        hub.parts.lifecycle.close(stream.client, CloseReason.AGE)
        stream.read()
        assert stream.parser.retry_ms is None

    def test_a_drain_cuts_off_a_client_that_does_not_read(self) -> None:
        """A worker that shuts down does not wait for a stalled client."""
        hub = HandHub()
        stream = hub.stream()
        hub.hub.drain()
        assert stream.sink.cuts == 1

    def test_a_drain_waits_on_while_clients_leave(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each client that leaves gives the others the whole time again."""
        hub = HandHub()
        streams = [hub.stream(user=f"u{n}") for n in range(3)]

        def leave() -> None:
            if streams:
                streams.pop().drop()

        while_draining(leave, monkeypatch)
        hub.hub.drain()
        assert streams == []
        assert hub.hub.stats().closed == {"shutdown": 3}

    def test_a_drain_leaves_the_app_a_moment_for_its_signals(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process may exit right after the drain."""
        told: list[CloseReason] = []
        listeners = Listeners(
            connected=lambda stats: None,
            disconnected=lambda stats, reason: told.append(reason),
        )
        hub = HandHub(listeners=listeners)
        stream = hub.stream()
        hub.parts.lifecycle.dismiss(stream.client, CloseReason.AGE)
        while_draining(hub.parts.notices.tell_waiting, monkeypatch)
        hub.hub.drain()
        assert told == [CloseReason.AGE]

    def test_no_client_is_admitted_while_draining(self) -> None:
        """The client would be closed at once. Publishing still works."""
        hub = HandHub()
        hub.hub.drain()
        with pytest.raises(ClientRefused, match="going away"):
            hub.open()
        hub.publish("still works")

    def test_a_client_admitted_just_before_the_drain_is_drained_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A client that passed admission a moment earlier does not stay behind."""
        hub = HandHub()
        monkeypatch.setattr(hub.parts.admission, "check", lambda *_: None)
        hub.hub.drain()
        stream = hub.stream()
        stream.read()
        assert stream.ended
        assert stream.client.close_reason is CloseReason.SHUTDOWN

    def test_the_close_is_reported_once_with_its_figures(self) -> None:
        """Listeners receive the user, the close reason, the age and the counters."""
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

    def test_a_listener_that_fails_does_no_harm(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The listener's error is logged once, and the stream goes on."""

        def fail(*_: object) -> None:
            raise RuntimeError("a bug in the app")

        hub = HandHub(listeners=Listeners(connected=fail, disconnected=fail))
        hub.stream().drop()
        assert caplog.text.count("RuntimeError: a bug in the app") == 1
        assert hub.hub.stats().connections == 0


class TestDisconnect:
    def test_a_disconnect_ends_the_streams_of_a_user_everywhere(self) -> None:
        """Streams here end at once, and those on other workers through the log."""
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

    def test_an_old_disconnect_never_ends_a_newer_stream(self) -> None:
        """Only disconnects after the user was loaded concern a client."""
        broker = MemoryBroker(KEEP_ALL)
        hub = HandHub(broker)
        hub.hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        _wait_for_record(broker)
        stream = hub.stream(user="alice")
        hub.bring()
        stream.read()
        assert not stream.ended

    def test_a_disconnect_between_login_check_and_stream_counts(self) -> None:
        """A user who is loaded, logged out and then connected does not stay."""
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

    @pytest.mark.parametrize("logged_out", [False, True])
    def test_a_user_can_connect_while_the_memory_turns_over(
        self, logged_out: bool
    ) -> None:
        """A slow login check in a busy log is judged by the control records alone."""
        hub = HandHub(memory=Retention(2, 3600.0, 10_000_000))
        since = hub.broker.head()
        if logged_out:
            ended = Disconnect(CloseReason.DISCONNECTED)
            hub.broker.publish(Record((ALICE,), ended))
        list(numbered(hub, 10))
        hub.bring()
        stream = hub.stream(user="alice", since=since)
        assert stream.data() == []
        assert stream.ended is logged_out
        reason = CloseReason.DISCONNECTED if logged_out else None
        assert stream.client.close_reason is reason

    def test_a_client_whose_login_check_is_too_old_does_not_stay(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disconnects since the login check are no longer known."""
        monkeypatch.setattr(
            "flask_sse_hub.hub.delivery.history._MAX_CONTROL_RECORDS", 2
        )
        hub = HandHub()
        since = hub.broker.head()
        for _ in range(3):
            ended = Disconnect(CloseReason.DISCONNECTED)
            hub.broker.publish(Record((address.user("bob"),), ended))
        hub.bring()
        stream = hub.stream(user="alice", since=since)
        stream.read()
        assert stream.client.close_reason is CloseReason.GAP

    def test_a_login_check_before_the_memory_of_a_worker_does_not_count(self) -> None:
        """The worker has not read the log from there, and knows of no logout."""
        broker = MemoryBroker(KEEP_ALL)
        since = broker.head()
        for _ in range(5):
            broker.publish(Record((BROADCAST,), Event("x" * 1000)))
        hub = HandHub(broker, memory=Retention(10, 3600.0, 2000))
        stream = hub.stream(user="alice", since=since)
        stream.read()
        assert stream.client.close_reason is CloseReason.GAP

    def test_a_new_worker_ignores_earlier_disconnects(self) -> None:
        """Control records that fill its memory at the start are only history."""
        broker = MemoryBroker(KEEP_ALL)
        HandHub(broker).hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        _wait_for_record(broker)
        late = HandHub(broker)
        stream = late.stream(user="alice")
        late.bring()
        stream.read()
        assert not stream.ended

    def test_a_resuming_client_is_not_ended_by_a_missed_disconnect(self) -> None:
        """A control record between the cursor and the login no longer counts."""
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
        hub.parts.lifecycle.close(stream.client, CloseReason.SESSION_ENDED)
        assert stream.sink.cuts == 1


def _wait_for_record(broker: MemoryBroker) -> None:
    """Wait until the background thread has appended its control record."""
    next(broker.follow(Cursor(broker.head().epoch, 0)))


class TestStats:
    def test_stats_count_clients_events_and_bytes(self) -> None:
        """The stats count connections, users, channels, events and bytes."""
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

    def test_an_event_that_the_broker_refuses_is_counted(self) -> None:
        """The publisher hears of it, and so do the statistics."""

        class Refusing(MemoryBroker):
            def publish(self, record: Record) -> Cursor:
                raise BrokerUnavailable("away")

        hub = HandHub(Refusing(KEEP_ALL))
        with pytest.raises(BrokerUnavailable):
            hub.publish("hello")
        assert hub.hub.stats().broker_errors["publish"] == 1

    def test_a_refused_client_is_counted_by_its_reason(self) -> None:
        """The refusal is returned, to be raised or answered."""
        hub = HandHub()
        refusal = ClientRefused("too many streams")
        assert hub.hub.refusal(refusal, reason="user_limit") is refusal
        assert hub.hub.stats().refusals["user_limit"] == 1

    def test_a_users_streams_are_known_after_their_end(self) -> None:
        """Open ones come first. Other users' streams are not among them."""
        hub = HandHub()
        ended = hub.stream(user="alice")
        for user in ("alice", "bob"):
            hub.stream(user=user)
        ended.drop()
        _, lives = hub.hub.lives("alice")
        assert [life.id for life in lives] == ["client-2", "client-1"]

    def test_a_receipt_of_an_event_that_was_not_read_yet_is_empty(self) -> None:
        """The event is in the log, and this worker is behind."""
        hub = HandHub()
        cursor = hub.broker.publish(Record((BROADCAST,), Event("hello")))
        assert hub.hub.receipt(cursor) == Receipt()

    def test_clients_are_only_listed_when_asked_for(self) -> None:
        """A list of ten thousand clients would make the answer long."""
        hub = HandHub()
        hub.stream()
        assert hub.hub.stats().clients == ()


class TestCursor:
    def test_the_cursor_is_the_head_of_the_log(self) -> None:
        """A page that is rendered after an event does not receive the event again."""
        hub = HandHub()
        assert str(hub.hub.cursor()) == str(hub.position)
        assert hub.publish("x") == str(hub.hub.cursor())

    def test_the_cursor_is_the_position_while_the_broker_is_away(self) -> None:
        """Some events may come twice, but none is missed."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker)
        broker.away = True
        assert hub.hub.cursor() == hub.position

    def test_without_a_position_the_error_is_raised(self) -> None:
        """A process that follows no log has no cursor to return."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, begun=False)
        broker.away = True
        with pytest.raises(BrokerUnavailable):
            hub.hub.cursor()


class TestWhatReviewsFound:
    """Regressions: each fault was found in a review and is provoked here."""

    def test_a_final_disconnect_bars_streams_that_are_opened_later(self) -> None:
        """A request may read its session before the logout and connect after it."""
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

    def test_an_unknown_close_reason_still_ends_streams(self) -> None:
        """A newer version on another worker may send a reason unknown here."""
        hub = HandHub()
        stream = hub.stream(user="alice")
        hub.broker.publish(Record((ALICE,), Disconnect("of the future")))
        hub.bring()
        stream.read()
        assert stream.client.close_reason is CloseReason.DISCONNECTED

    def test_a_thread_that_cannot_start_is_tried_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next stream is not refused for a shortage that is over."""
        hub = Hub(Parts(MemoryBroker(KEEP_ALL), HubOptions()))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_room)
            with pytest.raises(BrokerUnavailable, match="no room"):
                hub.start()
            hub.disconnect((ALICE,), reason=CloseReason.DISCONNECTED)
        assert hub.broker.head().offset == 1
        hub.start()
        hub.close()

    def test_closing_a_hub_ends_its_streams(self) -> None:
        """Streams that wait for events are woken."""
        hub = HandHub()
        stream = hub.stream()
        hub.hub.close()
        stream.read()
        assert stream.ended


def _no_room(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
