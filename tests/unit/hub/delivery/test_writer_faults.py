"""The writer: gaps in the log, errors on the way, and sockets that are handed over."""

import logging
import socket
import threading
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable, CloseReason, Event
from flask_sse_hub.brokers import LogBatch, MemoryBroker
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, GapReason, Record, Retention
from flask_sse_hub.hub.delivery.socket_sink import SocketSink
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from tests.kit.hand import KEEP_ALL, HandHub, numbered, types
from tests.kit.reader import wait_until
from tests.kit.sockets import block, peers, read_all


class TestGaps:
    def test_a_reset_comes_before_the_events_after_the_gap(self) -> None:
        """A client that kept up is not written to directly before its reset."""
        hub = HandHub()
        with peers(hub) as (peer,):
            start = Cursor(hub.position.epoch, hub.position.offset + 5)
            hub.parts.dispatcher.accept(LogBatch((), start, gap=GapReason.EPOCH))
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
