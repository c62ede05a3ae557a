"""The writer: one writer for all sockets that were taken over."""

import random
import re
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub import CloseReason
from flask_sse_hub.events.address import channel
from flask_sse_hub.events.record import Retention
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.delivery.socket_sink import ClientSocket
from flask_sse_hub.hub.heartbeat import Heartbeat
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub, fields, numbered, types
from tests.kit.reader import wait_until
from tests.kit.sockets import HEAD, LARGE, block, peers, read_all, tcp_pair, turn


def test_an_excluded_client_goes_on_with_the_next_event() -> None:
    """Nothing is written to it, not even a comment, and its silence goes on."""
    hub = HandHub()
    with peers(hub, 3) as (sender, *others):
        before = hub.parts.registry.written(sender.client)
        for n in range(3):
            hub.publish(str(n), exclude=(sender.client.id,))
            hub.bring()
            assert sender.client.connection is not None
        assert hub.parts.registry.written(sender.client) == before
        hub.publish("to all")
        hub.bring()
        sender.read_until(["to all"])
        for peer in others:
            peer.read_until(["0", "1", "2", "to all"])
            assert hub.parts.registry.written(peer.client).events == 4
        assert hub.parts.registry.written(sender.client).events == 1


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

    def test_a_client_of_large_events_keeps_up(self) -> None:
        """A client that has read all takes 64 kB at once, and does not lag."""
        hub = HandHub()
        with peers(hub, buffers=1 << 18) as (peer,):
            for size in (100, 17_000, 64_000):
                hub.publish("x" * size)
                hub.follow()
                assert hub.parts.writer.step()
                assert peer.client.connection is not None
            peer.read_until(["x" * size for size in (100, 17_000, 64_000)])

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
                hub.parts.writer.write_run(run)
                events.append(run.events)
            assert events == [2, 1, 1, 1]
            peer.read_until(["1", "2", "3", "5"])

    def test_a_client_that_leaves_in_the_middle_receives_no_more_bytes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The descriptor may belong to another connection by then."""
        hub = HandHub()
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._SLICE_SECONDS", 0.0)
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._WRITES_AT_ONCE", 1)
        with peers(hub, 3) as them:
            hub.publish("secret")
            hub.follow()
            run = hub.parts.dispatcher.fan_out()
            assert run is not None
            (last,) = [
                peer.client for peer in them if peer.sink.socket is run.direct[-1]
            ]

            def leave() -> None:
                hub.parts.lifecycle.close(last, CloseReason.DISCONNECTED)

            monkeypatch.setattr("flask_sse_hub.runtime.greenlets.breathe", leave)
            hub.parts.writer.write_run(run)
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
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._SLICE_SECONDS", 0.0)
        monkeypatch.setattr("flask_sse_hub.hub.delivery.writer._WRITES_AT_ONCE", 1)
        late: list[tuple[Any, Any]] = []
        with peers(hub, 2) as them:

            def come() -> None:
                if not late:
                    late.append(hub.open())

            monkeypatch.setattr("flask_sse_hub.runtime.greenlets.breathe", come)
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
            assert (peer.client.cursor == hub.position) == bool(peer.sink.left)

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
