"""The writer: one writer for all sockets that were taken over."""

import logging
import os
import random
import socket
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub import CloseReason, Event
from flask_sse_hub.brokers import Batch
from flask_sse_hub.events.address import BROADCAST, channel, user
from flask_sse_hub.hub.delivery.history import Cursor, GapReason, Record, Retention
from flask_sse_hub.hub.heartbeat import Heartbeat
from tests.hand import KEEP_ALL, FlakyBroker, HandHub, fields, numbered, types
from tests.reader import wait_until
from tests.sockets import HEAD, Peer, join, peers, turn

# More than the kernel takes for a peer that does not read, with buffers of 4 KiB.
LARGE = "x" * 30_000


def block(peer: Peer, *others: Peer) -> None:
    """Have the kernel hold as much for a peer as it takes; the others read theirs."""
    while peer.sink.writing_since is None:
        peer.hub.publish(LARGE)
        turn(peer.hub)
        for other in others:
            read_all(other, LARGE, count=len(other.data) + 1)


def read_all(peer: Peer, last: str, *, count: int = 0) -> None:
    """Read, and have the hub write, until an event has arrived."""

    def look() -> bool:
        turn(peer.hub)
        peer.read()
        return len(peer.data) >= count and peer.data[-1:] == [last]

    wait_until(look)


class TestFanOut:
    def test_everybody_gets_the_same_bytes_in_one_order(self) -> None:
        """What was published to all is written to each, and counted."""
        hub = HandHub()
        with peers(hub, 3) as them:
            list(numbered(hub, 100))
            hub.bring()
            for peer in them:
                peer.read_until([str(n) for n in range(100)])
                written = hub.hub.registry.written(peer.client)
                assert written.events == 100
                assert written.bytes == len(peer.raw) - len(HEAD)
            assert hub.hub.stats().events_out == 300
            assert hub.hub.stats().bytes_out == sum(
                hub.hub.registry.written(peer.client).bytes for peer in them
            )
            assert hub.hub.stats().delivery == {"socket": 3}

    def test_who_keeps_up_is_written_to_without_a_cursor(self) -> None:
        """It costs the event loop one call for each."""
        hub = HandHub()
        with peers(hub) as (peer,):
            assert peer.client.connection is peer.sink.socket
            hub.publish("x")
            hub.follow()
            run = hub.hub.dispatcher.fan_out()
            assert run is not None
            assert run.direct == [peer.client.connection]
            assert peer.client.cursor is None

    def test_only_records_of_the_same_addresses_and_exclusions_are_joined(self) -> None:
        """In the order of the log, whoever they are for."""
        hub = HandHub()
        with peers(hub, channels=("a",)) as (peer,):
            hub.publish("1", to=channel("a"))
            hub.publish("2", to=channel("a"))
            hub.publish("3")
            hub.publish("4", exclude=("peer-0",))
            hub.publish("5")
            hub.follow()
            events = []
            while run := hub.hub.dispatcher.fan_out():
                hub.hub.writer._write_run(run)
                events.append(run.events)
            assert events == [2, 1, 1, 1]
            peer.read_until(["1", "2", "3", "5"])

    def test_who_leaves_in_the_middle_gets_no_byte_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its descriptor may be somebody else's connection by then."""
        hub = HandHub()
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._WRITES_AT_ONCE", 1)
        with peers(hub, 3) as them:
            hub.publish("secret")
            hub.follow()
            run = hub.hub.dispatcher.fan_out()
            assert run is not None
            last = hub.hub.writer.peers.owner(run.direct[-1])
            assert last is not None

            def leave(self: object) -> None:
                hub.hub.dispatcher.close(last, CloseReason.DISCONNECTED)

            monkeypatch.setattr(
                "flask_sse_hub.hub.delivery.writer.Writer._give_way", leave
            )
            hub.hub.writer._write_run(run)
            for peer in them:
                if peer.client is last:
                    peer.read_to_the_end()
                    assert peer.data == []
                    assert peer.sink.descriptor == -1
                else:
                    peer.read_until(["secret"])

    def test_who_comes_in_the_middle_begins_after_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither twice nor half: its id says that it has what is being written."""
        hub = HandHub()
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._WRITES_AT_ONCE", 1)
        late: list[tuple[Any, Any]] = []
        with peers(hub, 2) as them:

            def come(self: object) -> None:
                if not late:
                    late.append(hub.open())

            monkeypatch.setattr(
                "flask_sse_hub.hub.delivery.writer.Writer._give_way", come
            )
            event_id = hub.publish("one")
            turn(hub)
            ((stream, (connected, *_)),) = late
            assert connected.id == event_id
            hub.publish("two")
            turn(hub)
            assert stream.data() == ["two"]
            for peer in them:
                peer.read_until(["one", "two"])

    def test_others_get_their_turn_in_the_middle(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fan-out to very many does not hold the process for its length."""
        hub = HandHub()
        turns: list[int] = []
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._SLICE_SECONDS", 0.0)
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._WRITES_AT_ONCE", 1)
        monkeypatch.setattr(
            "flask_sse_hub.runtime.native.breathe", lambda: turns.append(len(turns))
        )
        with peers(hub, 4) as them:
            hub.publish("x")
            hub.bring()
            assert len(turns) >= 4
            for peer in them:
                peer.read_until(["x"])


class TestLagging:
    def test_a_blocked_client_reads_on_when_it_can(self) -> None:
        """Nothing is lost, nothing comes twice, no frame is broken."""
        hub = HandHub()
        with peers(hub, 2) as (slow, quick):
            block(slow, quick)
            for number in range(50):
                hub.publish(str(number))
                hub.bring()
                quick.read()
            read_all(slow, "49")
            read_all(quick, "49")
            assert slow.data == quick.data
            assert slow.data[-50:] == [str(n) for n in range(50)]
            assert slow.client.connection is slow.sink.socket
            hub.publish("live")
            hub.bring()
            slow.read_until([*slow.data, "live"])

    def test_its_cursor_tells_what_it_has(self) -> None:
        """The record of which a part was sent counts as sent, others do not."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            assert peer.client.connection is None
            assert peer.client.cursor is not None
            unfinished = peer.sink._unfinished
            assert (peer.client.cursor == hub.position) == bool(unfinished)

    def test_it_costs_nothing_while_it_waits(self) -> None:
        """It is looked at when its socket takes bytes again, not for each event."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            peer.sink.due = False
            hub.publish("x")
            hub.follow()
            hub.hub.dispatcher.fan_out()
            assert not peer.sink.due

    def test_nothing_is_written_into_an_unfinished_frame(self) -> None:
        """No ping, no probe, no farewell: only the rest, or the end."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            hub.hub.dispatcher.ping(peer.client)
            hub.hub.dispatcher.probe(peer.client)
            turn(hub)
            hub.hub.dispatcher.close(peer.client, CloseReason.SHUTDOWN)
            peer.read_to_the_end()
            assert set(types(peer.events)) == {"connected", "message"}
            assert set(peer.data) == {LARGE}
            assert peer.raw.endswith(b"\n\n")
            assert b"retry: " in peer.raw[-20:]

    def test_one_that_takes_nothing_is_closed_as_stalled(self) -> None:
        """After the connection timeout; what it had is not reset or lost silently."""
        hub = HandHub(connection_timeout=60.0)
        with peers(hub) as (peer,):
            block(peer)
            heartbeat = Heartbeat(hub.hub, find_worker=lambda: None)
            heartbeat.sweep()
            assert hub.hub.stats().connections == 1
            hub.clock.advance(61.0)
            assert hub.hub.stats().lagging == 1
            heartbeat.sweep()
            turn(hub)
            assert hub.hub.stats().closed == {"stalled": 1}
            assert peer.sink.descriptor == -1

    def test_one_that_reads_slowly_is_kept(self) -> None:
        """Bytes that leave the kernel are what counts."""
        hub = HandHub(connection_timeout=60.0)
        with peers(hub) as (peer,):
            block(peer)
            for _ in range(20):
                hub.publish(LARGE)
            turn(hub)
            heartbeat = Heartbeat(hub.hub, find_worker=lambda: None)
            heartbeat.sweep()
            for _ in range(5):
                hub.clock.advance(50.0)
                left = peer.sink.left

                def reads(left: int = left) -> bool:
                    peer.read(2000)
                    turn(hub)
                    return peer.sink.left != left

                wait_until(reads)
                heartbeat.sweep()
            assert peer.sink.writing_since is not None
            assert hub.hub.stats().connections == 1

    def test_beyond_the_memory_the_broker_is_read_beside(self) -> None:
        """Everybody else is written to meanwhile."""
        hub = HandHub(memory=Retention(2, 3600.0, 10_000_000))
        with peers(hub, 2) as (slow, quick):
            block(slow, quick)
            for number in range(20):
                hub.publish(str(number))
                hub.bring()
                quick.read()
            read_all(slow, "19")
            read_all(quick, "19")
            assert slow.data == quick.data
            assert slow.client.connection is slow.sink.socket

    def test_while_the_broker_is_away_it_waits_with_its_cursor(self) -> None:
        """And goes on once the broker is back."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(2, 3600.0, 10_000_000))
        with peers(hub) as (slow,):
            block(slow)
            for number in range(20):
                hub.publish(str(number))
                hub.bring()
            broker.away = True

            def waits_for_the_broker() -> bool:
                hub.hub.writer.look_after_peers()
                hub.hub.writer.step()
                slow.read()
                return not slow.sink.left and not slow.sink.reading

            wait_until(waits_for_the_broker)
            assert "19" not in slow.data
            broker.away = False
            # The backlog asks an absent broker once a second; here by hand.
            hub.clock.advance(2.0)
            slow.sink.wake()
            read_all(slow, "19")
            assert slow.data[-20:] == [str(n) for n in range(20)]

    @given(st.lists(st.integers(0, 9), min_size=5, max_size=60))
    @settings(max_examples=15, deadline=None)
    def test_whatever_the_pace_each_gets_each_once_in_order(
        self, paces: list[int]
    ) -> None:
        """Peers that read now and then, events of all sizes, each form of a stream."""
        hub = HandHub()
        expected: list[str] = []
        with peers(hub, 6, codings=(None, "gzip", "zstd")) as them:
            for number, pace in enumerate(paces):
                # No coding makes it much smaller.
                data = (
                    f"{number}:" + random.Random(number).randbytes(pace**5 // 4).hex()
                )
                expected.append(data)
                hub.publish(data)
                turn(hub)
                them[0].read()
                them[pace % 6].read(4000)
            hub.publish("end")
            for peer in them:
                read_all(peer, "end")
                assert peer.data == [*expected, "end"]


def wait_for(hub: HandHub, *, connections: int) -> None:
    def look() -> bool:
        turn(hub)
        return hub.hub.stats().connections == connections

    wait_until(look)


class TestPeers:
    def test_what_the_kernel_tells_is_looked_at_between_fan_outs(self) -> None:
        """The event loop only says that there is something."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.send(b"x")
            wait_until(lambda: _is_told(hub, peer))

    def test_one_that_closes_is_let_go_of(self) -> None:
        """Without any traffic: a probe is answered by a reset."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.close()
            wait_for(hub, connections=0)
            assert hub.hub.stats().closed == {"client_gone": 1}

    def test_one_that_resets_is_let_go_of(self) -> None:
        """At once."""
        hub = HandHub()
        with peers(hub) as (peer,):
            linger = b"\1\0\0\0\0\0\0\0"
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            peer.socket.close()
            wait_for(hub, connections=0)

    def test_one_that_closes_its_half_goes_on_receiving(self) -> None:
        """As `nc` does, or a client that says it has no more to ask."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.shutdown(socket.SHUT_WR)
            turn(hub)
            hub.publish("still here")
            peer.read_until(["still here"])
            assert b":\n" in peer.raw
            assert hub.hub.stats().connections == 1

    def test_a_write_that_fails_is_the_end(self) -> None:
        """It is counted once, and the others get theirs."""
        hub = HandHub()
        with peers(hub, 2) as (peer, other):
            peer.socket.close()
            for _ in range(3):
                hub.publish("x")
                hub.bring()
            wait_for(hub, connections=1)
            other.read_until(["x"] * 3)
            assert hub.hub.stats().closed == {"client_gone": 1}

    def test_what_it_sends_is_thrown_away(self) -> None:
        """Up to a bound; it never reaches anybody."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.send(b"GET / HTTP/1.1\r\n\r\n")
            turn(hub)
            hub.publish("x")
            peer.read_until(["x"])

    def test_one_that_sends_without_end_is_closed(self) -> None:
        """It does not speak of event streams."""
        hub = HandHub()
        with peers(hub) as (peer,):

            def push() -> bool:
                try:
                    peer.socket.send(b"x" * 1000)
                except OSError:
                    return True
                turn(hub)
                return not hub.hub.stats().connections

            wait_until(push)
            assert hub.hub.stats().closed == {"protocol": 1}


class TestEnds:
    def test_a_drain_says_farewell_and_closes(self) -> None:
        """The last line is a delay of its own."""
        hub = HandHub()
        with peers(hub, 3) as them:
            thread = threading.Thread(target=hub.hub.drain)
            thread.start()
            for peer in them:
                peer.parser.retry_ms = None
                peer.read_to_the_end()
                assert peer.parser.retry_ms is not None
                assert peer.chunks is None or peer.chunks.complete
            thread.join(10.0)
            assert hub.hub.stats().closed == {"shutdown": 3}

    @pytest.mark.parametrize(
        "reason", [CloseReason.SESSION_ENDED, CloseReason.DISCONNECTED]
    )
    def test_a_kill_does_not_wait_for_what_is_unfinished(
        self, reason: CloseReason
    ) -> None:
        """What such a client is still to get is not its any more."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            hub.hub.dispatcher.close(peer.client, reason)
            hub.bring()
            assert hub.hub.stats().closed == {reason.value: 1}

    def test_after_a_kill_nothing_more_is_fanned_out_to_it(self) -> None:
        """Not even what comes before its socket is closed."""
        hub = HandHub()
        with peers(hub, user="ann") as (peer,):
            hub.hub.dispatcher.close(peer.client, CloseReason.SESSION_ENDED)
            hub.publish("private", to=user("ann"))
            peer.read_to_the_end()
            assert peer.data == []

    def test_an_evicted_client_is_told_to_come_back_late(self) -> None:
        """At once it would evict the next one, which would do the same."""
        hub = HandHub(max_clients_per_user=1)
        with peers(hub, user="ann") as (peer,):
            peer.parser.retry_ms = None
            other = join(hub, "other", user="ann")
            peer.read_to_the_end()
            assert peer.parser.retry_ms is not None
            assert 10_000 <= peer.parser.retry_ms <= 30_000
            assert hub.hub.stats().closed == {"evicted": 1}
            other.socket.close()

    def test_listeners_are_told_beside(self) -> None:
        """An app's receiver that waits does not hold the fan-out."""
        from flask_sse_hub.hub.clients.notices import Listeners

        ended: list[CloseReason] = []
        hub = HandHub(
            listeners=Listeners(
                connected=lambda stats: None,
                disconnected=lambda stats, reason: ended.append(reason),
            )
        )
        with peers(hub) as (peer,):
            hub.hub.dispatcher.close(peer.client, CloseReason.AGE)
            while hub.hub.writer.step():
                assert ended == []
            hub.hub.attendance.tell_waiting()
            assert ended == [CloseReason.AGE]

    def test_closing_the_hub_closes_the_sockets(self) -> None:
        """For tests and scripts; a worker drains."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.hub.close()
            hub.hub.writer.run()
            assert peer.sink.descriptor == -1

    def test_a_process_that_exits_drains_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its server knows nothing of the streams. A forked child says nothing."""
        hub = HandHub()
        with peers(hub) as (peer,):
            monkeypatch.setattr(hub.hub, "_pid", 0)
            hub.hub._drain_at_exit()
            assert peer.client.close_reason is None
            monkeypatch.setattr(hub.hub, "_pid", os.getpid())
            thread = threading.Thread(target=hub.hub._drain_at_exit)
            thread.start()
            peer.read_to_the_end()
            thread.join(10.0)
            assert hub.hub.stats().closed == {"shutdown": 1}

    def test_a_forked_child_leaves_the_sockets_alone(self) -> None:
        """It would write everything twice, and its exit would end all streams."""
        hub = HandHub()
        with peers(hub) as (peer,):
            pid = os.fork()
            if pid == 0:
                writer = hub.hub.writer
                let_go = peer.sink.descriptor == -1 and writer._stopped
                os._exit(int(not let_go))
            assert os.waitpid(pid, 0)[1] == 0
            hub.publish("x")
            peer.read_until(["x"])


class TestGaps:
    def test_a_reset_comes_before_what_follows_the_gap(self) -> None:
        """Whoever kept up is not written to directly until it was told."""
        hub = HandHub()
        with peers(hub) as (peer,):
            start = Cursor(hub.position.epoch, hub.position.offset + 5)
            hub.hub.dispatcher.accept(Batch((), start, gap=GapReason.EXPIRED))
            record = Record(
                (BROADCAST,),
                Event("after"),
                cursor=Cursor(start.epoch, start.offset + 1),
                time=1e12,
            )
            hub.hub.dispatcher.accept(Batch((record,), record.cursor))

            def told() -> bool:
                while hub.hub.writer.step():
                    pass
                peer.read()
                return "reset" in types(peer.events)

            wait_until(told)
            assert types(peer.events)[:2] == ["connected", "reset"]

    def test_a_ping_is_not_overtaken(self) -> None:
        """Its id would otherwise bring an event a second time."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.hub.dispatcher.ping(peer.client)
            hub.publish("x")
            peer.read_until(["x"])
            ids = [int(event.id.split("-")[1]) for event in peer.events]
            assert ids == sorted(ids)
            assert "ping" in types(peer.events)


def _is_told(hub: HandHub, peer: Peer) -> bool:
    hub.hub.writer._peers_changed()
    hub.hub.writer.step()
    return peer.sink._received == 1


def test_a_resuming_client_gets_what_it_missed_and_then_keeps_up() -> None:
    """Resume and live delivery are the same."""
    hub = HandHub()
    start = str(hub.position)
    list(numbered(hub, 30))
    hub.bring()
    with peers(hub, last_event_id=start) as (peer,):
        assert fields(peer.events[0])["resumed"] is True
        hub.publish("30")
        peer.read_until([str(n) for n in range(31)])
        assert peer.client.connection is not None


def test_it_runs_until_it_is_stopped() -> None:
    """What is accepted is fanned out by its own thread, which then ends."""
    hub = HandHub()
    writer = hub.hub.writer
    thread = threading.Thread(target=writer.run)
    thread.start()
    hub.publish("x")
    hub.follow()
    wait_until(lambda: hub.position == hub.broker.head())
    writer.stop()
    thread.join(10.0)
    assert not thread.is_alive()


def test_an_error_of_the_backlog_ends_only_that_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go on."""
    hub = HandHub(memory=Retention(1, 3600.0, 10_000_000))
    with peers(hub, 2) as (slow, quick):
        block(slow, quick)
        list(numbered(hub, 3))
        hub.bring()
        read_all(quick, "2")
        monkeypatch.setattr(hub.hub._catchup.backlog, "page", _fail)
        slow.read_to_the_end()
        assert hub.hub.stats().closed == {"error": 1}
        assert "cannot write to" in caplog.text
        assert hub.hub.stats().connections == 1


def _fail(_: object) -> Any:
    raise RuntimeError("a bug")


class TestErrors:
    def test_one_of_a_client_ends_only_that_client(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not the writer, and with it all streams of this worker."""
        hub = HandHub()
        with peers(hub, 2) as (peer, other):
            take = hub.hub._catchup.take

            def fail(client: Any) -> Any:
                if client is peer.client:
                    raise RuntimeError("a bug")
                return take(client)

            monkeypatch.setattr(hub.hub._catchup, "take", fail)
            hub.hub.dispatcher.ping(peer.client)
            peer.read_to_the_end()
            hub.publish("x")
            other.read_until(["x"])
            assert hub.hub.stats().closed == {"error": 1}
            assert "a bug" in caplog.text

    def test_the_log_s_own_ends_no_stream(self) -> None:
        """As a filter that reads the request, which is not there."""

        def fail(record: logging.LogRecord) -> bool:
            raise RuntimeError("outside of a request")

        hub = HandHub()
        logger = logging.getLogger("flask_sse_hub.hub.clients.notices")
        level = logger.level
        with peers(hub, 2) as (peer, other):
            logger.addFilter(fail)
            logger.setLevel(logging.INFO)
            try:
                hub.hub.dispatcher.close(peer.client, CloseReason.AGE)
                peer.read_to_the_end()
            finally:
                logger.removeFilter(fail)
                logger.setLevel(level)
            hub.publish("x")
            other.read_until(["x"])

    def test_a_timeout_of_the_app_s_own_makes_no_socket_wait(self) -> None:
        """The whole process would."""
        socket.setdefaulttimeout(5.0)
        try:
            hub = HandHub()
            with peers(hub) as (peer,):
                assert peer.sink.socket.gettimeout() == 0.0
        finally:
            socket.setdefaulttimeout(None)
