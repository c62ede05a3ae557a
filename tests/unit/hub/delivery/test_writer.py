"""The writer: one writer for all sockets that were taken over."""

import logging
import os
import random
import re
import socket
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub import BrokerUnavailable, CloseReason, Event
from flask_sse_hub.brokers import LogBatch, MemoryBroker
from flask_sse_hub.events.address import BROADCAST, channel, user
from flask_sse_hub.events.record import Cursor, GapReason, Record, Retention
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.delivery.socket_sink import ClientSocket, SocketSink
from flask_sse_hub.hub.heartbeat import Heartbeat
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub, fields, numbered, types
from tests.kit.reader import wait_until
from tests.kit.sockets import HEAD, Peer, join, peers, tcp_pair, turn

# More than the kernel buffers for a peer that does not read, with buffers of 4 KiB.
LARGE = "x" * 30_000


def block(peer: Peer, *others: Peer) -> None:
    """Fill the kernel's buffer for a peer, while the other peers read."""
    while peer.sink.writing_since is None:
        peer.hub.publish(LARGE)
        turn(peer.hub)
        for other in others:
            read_all(other, LARGE, count=len(other.data) + 1)


def read_all(peer: Peer, last: str, *, count: int = 0) -> None:
    """Read, and let the hub write, until an event has arrived."""

    def look() -> bool:
        turn(peer.hub)
        peer.read()
        return len(peer.data) >= count and peer.data[-1:] == [last]

    wait_until(look)


class TestFanOut:
    def test_every_client_receives_the_same_bytes_in_one_order(self) -> None:
        """A broadcast is written to each client and counted."""
        hub = HandHub()
        with peers(hub, 3) as them:
            list(numbered(hub, 100))
            hub.bring()
            for peer in them:
                peer.read_until([str(n) for n in range(100)])
                written = hub.parts.registry.written(peer.client)
                assert written.events == 100
                assert written.bytes == len(peer.raw) - len(HEAD)
            assert hub.hub.stats().events_out == 300
            assert hub.hub.stats().bytes_out == sum(
                hub.parts.registry.written(peer.client).bytes for peer in them
            )
            assert hub.hub.stats().delivery == {"socket": 3}

    def test_a_client_that_keeps_up_is_written_to_without_a_cursor(self) -> None:
        """A fan-out costs the event loop one call for each such client."""
        hub = HandHub()
        with peers(hub) as (peer,):
            assert peer.client.connection is peer.sink.socket
            hub.publish("x")
            hub.follow()
            run = hub.parts.dispatcher.fan_out()
            assert run is not None
            assert run.direct == [peer.client.connection]
            assert peer.client.cursor is None

    def test_a_client_that_comes_is_written_to_without_a_turn_of_the_writer(
        self,
    ) -> None:
        """A new client has everything up to the position. Others have to catch up."""
        hub = HandHub()
        start = str(hub.position)
        hub.publish("x")
        hub.bring()
        with peers(hub) as (peer,):
            new, resumed = (
                Client(name, identity=Identity(), since=peer.client.since)
                for name in ("new", "resumed")
            )
            for client, last_event_id in ((new, None), (resumed, start)):
                ours, theirs = tcp_pair()
                with ours, theirs:
                    copy = ClientSocket.of(ours, client.coding.form(chunked=False))
                    client.sink = sink = hub.hub.sink(copy)
                    greeting = hub.hub.connect(client, last_event_id=last_event_id)
                    hub.hub.adopt(client, sink, head=HEAD, greeting=greeting)
            assert new.connection is not None
            assert resumed.connection is None

    def test_only_records_of_the_same_addresses_and_exclusions_are_joined(self) -> None:
        """The order of the log is kept for every client."""
        hub = HandHub()
        with peers(hub, channels=("a",)) as (peer,):
            hub.publish("1", to=channel("a"))
            hub.publish("2", to=channel("a"))
            hub.publish("3")
            hub.publish("4", exclude=("peer-0",))
            hub.publish("5")
            hub.follow()
            events = []
            while run := hub.parts.dispatcher.fan_out():
                hub.parts.writer._write_run(run)
                events.append(run.events)
            assert events == [2, 1, 1, 1]
            peer.read_until(["1", "2", "3", "5"])

    def test_a_client_that_leaves_in_the_middle_receives_no_more_bytes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The descriptor may belong to another connection by then."""
        hub = HandHub()
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._WRITES_AT_ONCE", 1)
        with peers(hub, 3) as them:
            hub.publish("secret")
            hub.follow()
            run = hub.parts.dispatcher.fan_out()
            assert run is not None
            last = hub.parts.writer._peers.owner(run.direct[-1])
            assert last is not None

            def leave(self: object) -> None:
                hub.parts.lifecycle.close(last, CloseReason.DISCONNECTED)

            monkeypatch.setattr(
                "flask_sse_hub.hub.delivery.writer.Writer._give_way", leave
            )
            hub.parts.writer._write_run(run)
            for peer in them:
                if peer.client is last:
                    peer.read_to_the_end()
                    assert peer.data == []
                    assert peer.sink.descriptor == -1
                else:
                    peer.read_until(["secret"])

    def test_a_client_that_comes_in_the_middle_begins_after_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The id in the greeting covers the event that is being written."""
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

    def test_other_threads_run_in_the_middle_of_a_fan_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fan-out to very many clients does not occupy the process all the time."""
        hub = HandHub()
        turns: list[int] = []
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._SLICE_SECONDS", 0.0)
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._WRITES_AT_ONCE", 1)
        monkeypatch.setattr(
            "flask_sse_hub.runtime.greenlets.breathe", lambda: turns.append(len(turns))
        )
        with peers(hub, 4) as them:
            hub.publish("x")
            hub.bring()
            assert len(turns) >= 4
            for peer in them:
                peer.read_until(["x"])


class TestLagging:
    def test_a_blocked_client_reads_on_when_it_can(self) -> None:
        """No event is lost or comes twice, and no frame is broken."""
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

    def test_the_cursor_of_a_lagging_client_covers_what_was_sent(self) -> None:
        """A record that was sent in part counts as sent, and later ones do not."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            assert peer.client.connection is None
            assert peer.client.cursor is not None
            unfinished = peer.sink._unfinished
            assert (peer.client.cursor == hub.position) == bool(unfinished)

    def test_a_lagging_client_costs_nothing_while_it_waits(self) -> None:
        """The writer looks at it when its socket takes bytes, not for each event."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            peer.sink.due = False
            hub.publish("x")
            hub.follow()
            hub.parts.dispatcher.fan_out()
            assert not peer.sink.due

    def test_nothing_is_written_into_an_unfinished_frame(self) -> None:
        """The rest of the frame comes before any ping, probe or farewell."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            hub.parts.dispatcher.ping(peer.client)
            hub.parts.dispatcher.probe(peer.client)
            turn(hub)
            hub.parts.lifecycle.close(peer.client, CloseReason.SHUTDOWN)
            peer.read_to_the_end()
            assert set(types(peer.events)) == {"connected", "message"}
            assert set(peer.data) == {LARGE}
            assert re.search(rb"\n\nretry: \d+\n$", peer.raw)

    def test_a_chunk_that_was_read_beside_is_not_written_after_a_logout(self) -> None:
        """The logout comes between the read of the broker and the write."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.parts.registry.demote(peer.client)
            hub.publish("secret")
            hub.follow()
            hub.parts.dispatcher.fan_out()
            chunk = hub.hub.take(peer.client)
            assert chunk
            peer.sink.put(chunk)
            hub.parts.lifecycle.close(peer.client, CloseReason.SESSION_ENDED)
            peer.read_to_the_end()
            assert peer.data == []

    def test_a_client_that_takes_nothing_is_closed_as_stalled(self) -> None:
        """The close comes after the connection timeout and not before."""
        hub = HandHub(connection_timeout=60.0)
        with peers(hub) as (peer,):
            block(peer)
            heartbeat = Heartbeat(hub.parts, find_worker=lambda: None)
            heartbeat.sweep()
            assert hub.hub.stats().connections == 1
            hub.clock.advance(61.0)
            assert hub.hub.stats().lagging == 1
            heartbeat.sweep()
            turn(hub)
            assert hub.hub.stats().closed == {"stalled": 1}
            assert peer.sink.descriptor == -1

    def test_a_client_that_reads_slowly_is_kept(self) -> None:
        """Bytes that leave the kernel count as progress."""
        hub = HandHub(connection_timeout=60.0)
        with peers(hub) as (peer,):
            block(peer)
            for _ in range(20):
                hub.publish(LARGE)
            turn(hub)
            heartbeat = Heartbeat(hub.parts, find_worker=lambda: None)
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

    def test_events_beyond_the_memory_are_read_from_the_broker(self) -> None:
        """The other clients are written to meanwhile."""
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

    def test_a_client_waits_while_the_broker_is_away(self) -> None:
        """The client keeps its cursor and goes on once the broker is back."""
        broker = FlakyBroker(KEEP_ALL)
        hub = HandHub(broker, memory=Retention(2, 3600.0, 10_000_000))
        with peers(hub) as (slow,):
            block(slow)
            for number in range(20):
                hub.publish(str(number))
                hub.bring()
            broker.away = True

            def waits_for_the_broker() -> bool:
                hub.parts.writer.look_after_peers()
                hub.parts.writer.step()
                hub.parts.writer.read_waiting()
                slow.read()
                return not slow.sink.left and not slow.sink.reading

            wait_until(waits_for_the_broker)
            assert "19" not in slow.data
            broker.away = False
            # The backlog retries an absent broker once a second, by the clock.
            hub.clock.advance(2.0)
            slow.sink.wake()
            read_all(slow, "19")
            assert slow.data[-20:] == [str(n) for n in range(20)]

    @given(st.lists(st.integers(0, 9), min_size=5, max_size=60))
    @settings(max_examples=15)
    def test_every_client_receives_each_event_once_at_any_pace(
        self, paces: list[int]
    ) -> None:
        """Peers read now and then, events have all sizes, and streams all codings."""
        hub = HandHub()
        expected: list[str] = []
        with peers(hub, 6, codings=(None, "gzip", "zstd")) as them:
            for number, pace in enumerate(paces):
                # Random data, which no coding makes much smaller.
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
    def test_changes_of_peers_are_handled_between_fan_outs(self) -> None:
        """The event loop only signals that there are changes."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.send(b"x")
            wait_until(lambda: _is_told(hub, peer))

    def test_a_peer_that_closes_is_removed(self) -> None:
        """No traffic is needed: the peer answers a probe with a reset."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.close()
            wait_for(hub, connections=0)
            assert hub.hub.stats().closed == {"client_gone": 1}

    def test_a_peer_that_resets_is_removed(self) -> None:
        """The hub removes the client at once."""
        hub = HandHub()
        with peers(hub) as (peer,):
            linger = b"\1\0\0\0\0\0\0\0"
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            peer.socket.close()
            wait_for(hub, connections=0)

    def test_a_peer_that_closes_its_half_goes_on_receiving(self) -> None:
        """`nc` does so, and so does a client with no more to send."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.shutdown(socket.SHUT_WR)
            turn(hub)
            hub.publish("still here")
            peer.read_until(["still here"])
            assert b":\n" in peer.raw
            assert hub.hub.stats().connections == 1

    def test_a_write_that_fails_ends_the_stream(self) -> None:
        """The end is counted once, and the other clients receive their events."""
        hub = HandHub()
        with peers(hub, 2) as (peer, other):
            peer.socket.close()
            for _ in range(3):
                hub.publish("x")
                hub.bring()
            wait_for(hub, connections=1)
            other.read_until(["x"] * 3)
            assert hub.hub.stats().closed == {"client_gone": 1}

    def test_bytes_from_a_client_are_thrown_away(self) -> None:
        """The bytes are discarded up to a bound and never reach anybody."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.send(b"GET / HTTP/1.1\r\n\r\n")
            turn(hub)
            hub.publish("x")
            peer.read_until(["x"])

    def test_a_client_that_sends_without_end_is_closed(self) -> None:
        """Such a client does not follow the protocol."""
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
    def test_a_drain_sends_a_retry_delay_and_closes(self) -> None:
        """Each client's last line is a retry delay of its own."""
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
    def test_a_disconnect_does_not_wait_for_an_unfinished_frame(
        self, reason: CloseReason
    ) -> None:
        """Such a client may no longer receive the rest."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            hub.parts.lifecycle.close(peer.client, reason)
            hub.bring()
            assert hub.hub.stats().closed == {reason.value: 1}

    def test_after_a_disconnect_nothing_more_is_fanned_out_to_the_client(self) -> None:
        """Events that come before its socket is closed are not sent either."""
        hub = HandHub()
        with peers(hub, user="ann") as (peer,):
            hub.parts.lifecycle.close(peer.client, CloseReason.SESSION_ENDED)
            hub.publish("private", to=user("ann"))
            peer.read_to_the_end()
            assert peer.data == []

    def test_an_evicted_client_receives_a_long_retry_delay(self) -> None:
        """At once, it would evict the next client, which would do the same."""
        hub = HandHub(max_clients_per_user=1)
        with peers(hub, user="ann") as (peer,):
            peer.parser.retry_ms = None
            other = join(hub, "other", user="ann")
            peer.read_to_the_end()
            assert peer.parser.retry_ms is not None
            assert 10_000 <= peer.parser.retry_ms <= 30_000
            assert hub.hub.stats().closed == {"evicted": 1}
            other.socket.close()

    def test_listeners_are_called_outside_the_fan_out(self) -> None:
        """An app's listener that waits does not hold up the fan-out."""
        from flask_sse_hub.hub.clients.notices import Listeners

        ended: list[CloseReason] = []
        hub = HandHub(
            listeners=Listeners(
                connected=lambda stats: None,
                disconnected=lambda stats, reason: ended.append(reason),
            )
        )
        with peers(hub) as (peer,):
            hub.parts.lifecycle.close(peer.client, CloseReason.AGE)
            while hub.parts.writer.step():
                assert ended == []
            hub.parts.notices.tell_waiting()
            assert ended == [CloseReason.AGE]

    def test_closing_the_hub_closes_the_sockets(self) -> None:
        """Tests and scripts close a hub; a worker drains it."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.hub.close()
            hub.parts.writer.run()
            assert peer.sink.descriptor == -1

    def test_a_process_that_exits_drains_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its server does not know of the streams. A forked child drains nothing."""
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
        """The child would write every event twice, and its exit end all streams."""
        hub = HandHub()
        with peers(hub) as (peer,):
            pid = os.fork()
            if pid == 0:
                writer = hub.parts.writer
                let_go = peer.sink.descriptor == -1 and writer._stopped
                os._exit(int(not let_go))
            assert os.waitpid(pid, 0)[1] == 0
            hub.publish("x")
            peer.read_until(["x"])

    def test_an_abandoned_hub_neither_writes_nor_ends_a_stream(self) -> None:
        """The parent, to which the stream belongs, goes on."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.hub.abandon()
            hub.publish("x")
            hub.follow()
            hub.parts.writer.step()
            assert peer.sink.descriptor == -1
            assert peer.client.close_reason is None


class TestGaps:
    def test_a_reset_comes_before_the_events_after_the_gap(self) -> None:
        """A client that kept up is not written to directly before its reset."""
        hub = HandHub()
        with peers(hub) as (peer,):
            start = Cursor(hub.position.epoch, hub.position.offset + 5)
            hub.parts.dispatcher.accept(LogBatch((), start, gap=GapReason.EXPIRED))
            record = Record(
                (BROADCAST,),
                Event("after"),
                cursor=Cursor(start.epoch, start.offset + 1),
                time=1e12,
            )
            hub.parts.dispatcher.accept(LogBatch((record,), record.cursor))

            def told() -> bool:
                while hub.parts.writer.step():
                    pass
                peer.read()
                return "reset" in types(peer.events)

            wait_until(told)
            assert types(peer.events)[:2] == ["connected", "reset"]

    def test_a_ping_is_not_overtaken(self) -> None:
        """The ping's old id would otherwise bring an event a second time."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.parts.dispatcher.ping(peer.client)
            hub.publish("x")
            peer.read_until(["x"])
            ids = [int(event.id.split("-")[1]) for event in peer.events]
            assert ids == sorted(ids)
            assert "ping" in types(peer.events)


def _is_told(hub: HandHub, peer: Peer) -> bool:
    hub.parts.writer._peers_changed()
    hub.parts.writer.step()
    return peer.sink._received == 1


def test_a_resuming_client_receives_missed_events_and_then_keeps_up() -> None:
    """Resuming and live delivery are the same."""
    hub = HandHub()
    start = str(hub.position)
    list(numbered(hub, 30))
    hub.bring()
    with peers(hub, last_event_id=start) as (peer,):
        assert fields(peer.events[0])["resumed"] is True
        hub.publish("30")
        peer.read_until([str(n) for n in range(31)])
        assert peer.client.connection is not None


def test_the_writer_runs_until_it_is_stopped() -> None:
    """The writer's thread fans out accepted events and then ends."""
    hub = HandHub()
    writer = hub.parts.writer
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
    """The other clients stay connected."""
    hub = HandHub(memory=Retention(1, 3600.0, 10_000_000))
    with peers(hub, 2) as (slow, quick):
        block(slow, quick)
        list(numbered(hub, 3))
        hub.bring()
        read_all(quick, "2")
        monkeypatch.setattr(hub.parts.backlog, "page", _fail)
        slow.read_to_the_end()
        assert hub.hub.stats().closed == {"error": 1}
        assert "cannot write to" in caplog.text
        assert hub.hub.stats().connections == 1


def _fail(_: object) -> Any:
    raise RuntimeError("a bug")


class TestErrors:
    def test_an_error_of_one_client_ends_only_that_client(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The writer, and with it all other streams of this worker, goes on."""
        hub = HandHub()
        with peers(hub, 2) as (peer, other):
            take = hub.parts.catchup.take

            def fail(client: Any) -> Any:
                if client is peer.client:
                    raise RuntimeError("a bug")
                return take(client)

            monkeypatch.setattr(hub.parts.catchup, "take", fail)
            hub.parts.dispatcher.ping(peer.client)
            peer.read_to_the_end()
            hub.publish("x")
            other.read_until(["x"])
            assert hub.hub.stats().closed == {"error": 1}
            assert "a bug" in caplog.text

    def test_an_error_in_logging_ends_no_stream(self) -> None:
        """A log filter may read the request, which is missing in the writer."""

        def fail(record: logging.LogRecord) -> bool:
            raise RuntimeError("outside of a request")

        hub = HandHub()
        logger = logging.getLogger("flask_sse_hub.hub.clients.notices")
        level = logger.level
        with peers(hub, 2) as (peer, other):
            logger.addFilter(fail)
            logger.setLevel(logging.INFO)
            try:
                hub.parts.lifecycle.close(peer.client, CloseReason.AGE)
                peer.read_to_the_end()
            finally:
                logger.removeFilter(fail)
                logger.setLevel(level)
            hub.publish("x")
            other.read_until(["x"])

    def test_a_default_timeout_of_the_app_makes_no_socket_wait(self) -> None:
        """A socket that waits would stop the whole process."""
        socket.setdefaulttimeout(5.0)
        try:
            hub = HandHub()
            with peers(hub) as (peer,):
                assert peer.sink.socket.gettimeout() == 0.0
        finally:
            socket.setdefaulttimeout(None)


class TestHandOver:
    def test_a_sink_is_read_for_until_its_bytes_are_set(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The writer would put the next bytes in the place of those from the broker."""
        hub = HandHub()
        with peers(hub) as (peer,):
            writer, sink = hub.parts.writer, peer.sink
            states: list[bool] = []
            put = SocketSink.put

            def look(sink: SocketSink, coded: bytes, **options: Any) -> None:
                states.append(sink.reading)
                put(sink, coded, **options)

            monkeypatch.setattr(SocketSink, "put", look)
            writer._read_beside(sink)
            assert writer.read_waiting()
            assert states == [True]
            assert not sink.reading

    def test_a_sink_that_is_woken_during_a_read_is_looked_at_afterwards(self) -> None:
        """A ping that became due meanwhile is not lost."""
        hub = HandHub()
        with peers(hub) as (peer,):
            writer, sink = hub.parts.writer, peer.sink
            writer._read_beside(sink)
            writer.look_at(sink)
            assert writer._serve_due()
            assert sink.again
            assert writer.read_waiting()
            assert sink.due
            assert not sink.again

    def test_a_sink_whose_read_has_just_ended_is_served(self) -> None:
        """Only a sink that is still read for is left to its reader."""
        hub = HandHub()
        with peers(hub) as (peer,):
            assert not hub.parts.writer._leaves_to_reader(peer.sink)
            assert not peer.sink.again

    def test_the_reader_of_the_broker_is_a_task_of_the_hub(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process without room for its thread refuses streams, and tries again."""
        hub = Hub(Parts(MemoryBroker(KEEP_ALL), HubOptions()), patience=0.0)
        start = threading.Thread.start
        full = True

        def start_unless_full(thread: threading.Thread) -> None:
            if full and thread.name == "sse-hub-reader":
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_unless_full)
        with pytest.raises(BrokerUnavailable):
            hub.start()
        full = False
        hub.start()
        assert any(each.name == "sse-hub-reader" for each in threading.enumerate())
        hub.close()


@pytest.mark.parametrize("reason", [CloseReason.AGE, CloseReason.SESSION_ENDED])
def test_a_run_that_a_closed_client_did_not_take_is_not_counted(
    reason: CloseReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statistics name what a client took, also if it is closed in a fan-out."""
    hub = HandHub()
    with peers(hub) as (peer,):
        before = hub.parts.registry.written(peer.client)
        hub.publish("x")
        hub.follow()
        run = hub.parts.dispatcher.fan_out()
        assert run is not None
        assert run.direct == [peer.sink.socket]
        hub.parts.lifecycle.close(peer.client, reason)
        with monkeypatch.context() as patch:
            patch.setattr(ClientSocket, "send", _full, raising=False)
            hub.parts.writer._write_run(run)
        assert hub.parts.registry.written(peer.client)[:2] == before[:2]


def _full(connection: ClientSocket, data: bytes) -> int:
    raise BlockingIOError
