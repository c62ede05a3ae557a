"""Workers that stop say farewell to all clients, and end soon, by default."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.hand import fields
from tests.kit.reader import wait_until
from tests.live.crowd import Crowd, crowd
from tests.live.server import DELIVERIES, Server, gone, raw_request

pytestmark = pytest.mark.live

#: Seconds. gunicorn kills after graceful_timeout, by default 30. A drain that works is
#: far below that. A benchmark measures the time itself.
SOON = 8.0

UNLIMITED: dict[str, Any] = {"max_clients_per_user": None}


def farewell(them: Crowd) -> None:
    """Read each stream to its end, which tells each client when to come back."""
    for member in them.members:
        member.parser.retry_ms = None
    them.read_until(lambda member: member.ended, within=SOON)
    delays = [member.parser.retry_ms for member in them.members]
    assert None not in delays
    assert len(set(delays)) > len(delays) / 2


@pytest.mark.parametrize("kind", DELIVERIES)
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda n: n.name
)
def test_a_server_that_is_told_to_stop_says_farewell(
    number: signal.Signals, kind: str
) -> None:
    """Each of 200 streams ends with its own retry, and the worker exits."""
    with Server(kind, **UNLIMITED) as server, crowd(server.port, 200) as them:
        worker = server.worker()
        server.signal(number)
        farewell(them)
        wait_until(lambda: gone(worker), within=SOON)
        assert server.process.wait(SOON) == 0
        assert "graceful timeout" not in server.log


def test_the_same_with_threads() -> None:
    """The gthread worker holds a thread for each stream, and lets go of all soon."""
    with (
        Server("gunicorn-gthread", args="--threads 210", **UNLIMITED) as server,
        crowd(server.port, 200) as them,
    ):
        worker = server.worker()
        server.signal(signal.SIGTERM)
        farewell(them)
        wait_until(lambda: gone(worker), within=SOON)


@pytest.mark.parametrize("kind", DELIVERIES)
def test_a_reload_moves_everybody_to_the_new_worker(kind: str) -> None:
    """HUP: the old worker says farewell; clients learn that its memory is lost."""
    with (
        Server(kind, broker_url="memory://", **UNLIMITED) as server,
        crowd(server.port, 50) as them,
    ):
        worker = server.worker()
        last = them.members[0].parser.last_event_id
        server.signal(signal.SIGHUP)
        farewell(them)
        wait_until(lambda: gone(worker), within=SOON)
        with server.stream(Last_Event_ID=last) as stream:
            stream.next("connected")
            assert fields(stream.next("reset")) == {"reason": "epoch"}


@pytest.mark.parametrize("kind", DELIVERIES)
def test_a_worker_that_reached_max_requests_drains(kind: str) -> None:
    """Its clients move on; a limit too low for that to settle is warned of."""
    with (
        Server(kind, args="--max-requests 60", **UNLIMITED) as server,
        crowd(server.port, 50) as them,
    ):
        worker = server.worker()
        spend_requests(server, until=lambda: "Autorestarting" in server.log)
        farewell(them)
        wait_until(lambda: gone(worker), within=SOON)
        assert "their reconnects alone soon restart the next worker" in server.log
        # gunicorn loses a signal to a worker that is just starting.
        wait_until(lambda: server.get("/events/health")[0] == 200, within=SOON)


def spend_requests(server: Server, *, until: Callable[[], bool]) -> None:
    while not until():
        server.get("/events/health/live")


def test_a_killed_worker_is_told_as_lost_history() -> None:
    """The memory broker forgets, and the next worker tells the client."""
    with Server(broker_url="memory://") as server:
        stream = server.stream()
        stream.next("connected")
        server.publish("x")
        assert stream.data(1) == ["x"]
        worker = server.worker()
        os.kill(worker, signal.SIGKILL)
        stream.wait_for_end()
        stream.close()
        wait_until(lambda: server.worker() != worker, within=SOON)
        with server.stream(Last_Event_ID=stream.last_event_id) as again:
            assert fields(again.next())["resumed"] is False
            assert fields(again.next()) == {"reason": "epoch"}


@pytest.mark.parametrize("kind", DELIVERIES)
def test_a_stalled_client_does_not_hold_the_worker_back(kind: str) -> None:
    """The client reads no farewell, so it is cut off."""
    with Server(kind, **UNLIMITED) as server:
        stalled = raw_request(server.port)
        wait_until(lambda: server.stats()["connections"] == 1)
        for _ in range(12):
            server.publish("x" * 1_000_000)
        wait_until(lambda: server.stats()["lagging"] == 1)
        worker = server.worker()
        server.signal(signal.SIGTERM)
        wait_until(lambda: gone(worker), within=SOON)
        stalled.close()
