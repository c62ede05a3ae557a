"""The heartbeat: pings, stalled clients, the age of streams, and worker shutdown."""

import signal
import sys
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from flask_sse_hub import CloseReason
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.record import Cursor, GapReason, Retention
from flask_sse_hub.hub.heartbeat import Heartbeat
from flask_sse_hub.server.worker import ServerWorker, serving_worker
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub, HandStream, numbered, types
from tests.kit.reader import wait_until


@dataclass
class Worker:
    """The attributes of gunicorn's worker that the heartbeat reads."""

    alive: bool = True
    max_requests: int = sys.maxsize


def sweep(hub: HandHub) -> None:
    Heartbeat(hub.parts, find_worker=lambda: None).sweep()


class TestPings:
    def test_no_stream_is_silent_for_longer_than_the_interval(self) -> None:
        """For any drawn delay, the ping comes before the interval is over."""
        hub = HandHub(heartbeat_interval=10.0, max_clients_per_user=None)
        streams = [hub.stream() for _ in range(50)]
        pinged: dict[int, float] = {}
        for tenth in range(100):
            hub.clock.advance(0.1)
            sweep(hub)
            for number, stream in enumerate(streams):
                if types(stream.read()) == ["ping"]:
                    pinged.setdefault(number, tenth / 10)
        assert len(pinged) == 50

    def test_pings_are_spread_over_the_interval(self) -> None:
        """Clients that received the same broadcast are not all pinged at one moment."""
        hub = HandHub(heartbeat_interval=10.0, max_clients_per_user=None)
        streams = [hub.stream() for _ in range(50)]
        moments = set()
        for tenth in range(100):
            hub.clock.advance(0.1)
            sweep(hub)
            moments |= {tenth for stream in streams if stream.read()}
        assert len(moments) > 10

    def test_a_stream_with_events_is_not_pinged(self) -> None:
        """Silence is counted from the last bytes of any kind."""
        hub = HandHub(heartbeat_interval=10.0)
        stream = hub.stream()
        for _ in range(10):
            hub.clock.advance(5.0)
            hub.publish("x")
            hub.bring()
            sweep(hub)
            assert types(stream.read()) == ["message"]

    def test_a_ping_carries_the_position(self) -> None:
        """A quiet stream can resume from the current position of the log."""
        hub = HandHub(heartbeat_interval=10.0)
        stream = hub.stream()
        hub.clock.advance(9.0)
        sweep(hub)
        (ping,) = stream.read()
        assert ping.id == str(hub.position)
        assert '"ts":' in ping.data


class TestEnds:
    def test_a_stream_ends_at_its_age_and_resumes(self) -> None:
        """Each stream ends at 80 to 100 % of it, so that not all return at once."""
        hub = HandHub(max_age=100.0, max_clients_per_user=None)
        streams = [hub.stream() for _ in range(30)]
        ended: list[int] = []
        for second in range(1, 101):
            hub.clock.advance(1.0)
            sweep(hub)
            for stream in streams:
                if not stream.ended:
                    stream.read()
                    ended += [second] if stream.ended else []
        assert len(ended) == 30
        assert min(ended) >= 80
        assert len(set(ended)) > 5
        assert streams[0].client.close_reason is CloseReason.AGE
        hub.publish("missed")
        hub.bring()
        assert hub.stream(last_event_id=streams[0].drop()).data() == ["missed"]

    def test_a_client_that_takes_nothing_is_cut_off(self) -> None:
        """Its place and socket are freed, even while its server still writes."""
        hub = HandHub(connection_timeout=60.0)
        stream = _writing(hub)
        hub.clock.advance(59.0)
        sweep(hub)
        assert stream.sink.cuts == 0
        hub.clock.advance(2.0)
        sweep(hub)
        assert stream.sink.cuts == 1
        assert hub.hub.stats().closed == {"stalled": 1}
        assert hub.hub.stats().connections == 0

    def test_a_stream_that_its_server_forgot_is_removed(self) -> None:
        """A stream that its server never closes would be counted for ever."""
        hub = HandHub(max_age=10.0, connection_timeout=60.0)
        hub.stream()
        for _ in range(8):
            hub.clock.advance(10.0)
            sweep(hub)
        assert hub.hub.stats().closed == {"age": 1}
        assert hub.hub.stats().connections == 0

    def test_a_slow_client_that_takes_some_bytes_stays(self) -> None:
        """Only a client that takes no byte at all is stalled."""
        hub = HandHub(connection_timeout=60.0)
        stream = _writing(hub)
        stream.sink.takes = True
        for _ in range(10):
            hub.clock.advance(50.0)
            sweep(hub)
        assert stream.sink.cuts == 0
        assert hub.hub.stats().connections == 1

    def test_a_stream_in_a_long_write_still_ends_at_its_age(self) -> None:
        """The write is not cut, so the client resumes like any other."""
        hub = HandHub(max_age=100.0, connection_timeout=1e6)
        stream = _writing(hub)
        hub.clock.advance(101.0)
        sweep(hub)
        assert stream.client.close_reason is CloseReason.AGE
        assert stream.sink.cuts == 0

    def test_a_write_that_began_as_its_session_ended_is_cut(self) -> None:
        """The close found no write to cut, and the write began right after it."""
        hub = HandHub()
        stream = hub.stream(user="alice")
        hub.parts.lifecycle.close(stream.client, CloseReason.SESSION_ENDED)
        stream.sink.writing_since = hub.clock()
        sweep(hub)
        assert stream.sink.cuts == 1

    def test_a_sweep_does_not_change_a_write(self) -> None:
        """The write may end at that moment, and its client wait for events again."""
        hub = HandHub(connection_timeout=60.0)
        stream = _writing(hub)
        stream.sink.takes = True
        before = stream.sink.writing_since
        hub.clock.advance(10.0)
        sweep(hub)
        assert stream.sink.writing_since == before


def _writing(hub: HandHub) -> HandStream:
    stream = hub.stream()
    stream.sink.writing_since = hub.clock()
    return stream


def test_a_client_that_waits_for_the_broker_is_woken_to_try_again() -> None:
    """The client reads on by itself once the broker is back."""
    broker = FlakyBroker(KEEP_ALL)
    hub = HandHub(broker, memory=Retention(1, 3600.0, 10_000_000))
    ids = list(numbered(hub, 3))
    hub.bring()
    broker.away = True
    stream = hub.stream(last_event_id=ids[0], since=hub.position)
    sweep(hub)
    assert stream.sink.woken == 1


def test_expired_events_are_forgotten_while_no_new_ones_come() -> None:
    """A quiet log does not keep hour-old events for the next client."""
    hub = HandHub(MemoryBroker(KEEP_ALL), memory=Retention(100, 0.000_001, 10_000_000))
    hub.publish("x")
    hub.bring()
    sweep(hub)
    assert hub.hub.stats().history_events == 0


class TestWorker:
    def test_a_worker_that_shuts_down_is_drained(self) -> None:
        """No hook is configured: the worker's `alive` attribute shows the shutdown."""
        hub = HandHub()
        stream = hub.stream()
        worker = ServerWorker(Worker(alive=False))
        Heartbeat(hub.parts, find_worker=lambda: worker).run(hub.hub.closed)
        stream.read()
        assert stream.client.close_reason is CloseReason.SHUTDOWN

    def test_the_heartbeat_runs_until_the_hub_is_closed(self) -> None:
        """The heartbeat's thread ends with its hub."""
        hub = HandHub()
        hub.hub.close()
        Heartbeat(hub.parts, find_worker=lambda: None).run(hub.hub.closed)
        assert not hub.hub.draining

    def test_max_requests_below_the_number_of_clients_is_logged_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The clients' reconnects would restart each following worker without end."""
        hub = HandHub()
        worker = ServerWorker(Worker(max_requests=3))
        heartbeat = Heartbeat(hub.parts, find_worker=lambda: worker)
        hub.stream()
        heartbeat._check_max_requests(worker)
        assert "max_requests" not in caplog.text
        hub.stream()
        heartbeat._check_max_requests(worker)
        heartbeat._check_max_requests(worker)
        assert caplog.text.count("max_requests = 3 ") == 1

    def test_the_worker_is_found_by_its_signal_handler(self) -> None:
        """This works for any worker class and needs no gunicorn hook."""

        class Serving(Worker):
            def handle_exit(self, *_: Any) -> None:
                self.alive = False

        worker = Serving()
        before = signal.signal(signal.SIGTERM, worker.handle_exit)
        try:
            found = serving_worker()
            assert found is not None
            assert found.alive
            worker.handle_exit()
            assert not found.alive
        finally:
            signal.signal(signal.SIGTERM, before)

    def test_other_servers_have_no_worker(self) -> None:
        """The development server and gevent's own server have no worker object."""
        assert serving_worker() is None


class TestAwayBroker:
    def test_nothing_that_is_due_waits_for_the_broker(self) -> None:
        """A client with a made-up id is judged beside: pings and drains come first."""

        class Asked(MemoryBroker):
            asked = 0

            def head(self) -> Cursor:
                self.asked += 1
                return super().head()

        broker = Asked(KEEP_ALL)
        hub = HandHub(broker, heartbeat_interval=10.0)
        beyond = Cursor(hub.position.epoch, hub.position.offset + 5_000)
        stream = hub.stream(last_event_id=hub.publish("seen elsewhere"))
        assert stream.client.cursor is not None
        stream.client.cursor = beyond
        asked = broker.asked
        hub.clock.advance(9.0)
        sweep(hub)
        assert types(stream.read()) == ["ping"]
        assert broker.asked == asked

    def test_ids_ahead_are_judged_until_the_hub_is_closed(self) -> None:
        """The judge looks regularly, in a thread of its own."""
        hub = HandHub(heartbeat_interval=0.01)
        stream = hub.stream(last_event_id=hub.publish("seen elsewhere"))
        stream.client.cursor = Cursor(hub.position.epoch, hub.position.offset + 5_000)
        heartbeat = Heartbeat(hub.parts, find_worker=lambda: None)
        judge = threading.Thread(target=heartbeat.judge, args=[hub.hub.closed])
        judge.start()
        wait_until(lambda: stream.client.reset_due is GapReason.AHEAD)
        hub.hub.closed.set()
        judge.join(10.0)
        assert not judge.is_alive()
