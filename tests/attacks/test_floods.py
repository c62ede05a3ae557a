"""Floods of silent or slow connections: all other clients are still served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.attack import connections, is_ended, room_for, unharmed, vanish
from tests.kit.reader import wait_until
from tests.live.crowd import crowd
from tests.live.server import DELIVERIES, ROOT, Server, raw_request
from tests.wire.real_parts import absent

pytestmark = pytest.mark.live

HALF_A_HEAD = b"GET /events HTTP/1.1\r\nHost: localhost\r\nX-Name: "
HALF_A_BODY = (
    b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 1000\r\n\r\n{"data": "'
)


@pytest.fixture(scope="module", params=DELIVERIES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    args = "--worker-connections 1000 --backlog 2048"
    with Server(request.param, args=args, max_clients_per_user=None) as server:
        yield server


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_ten_thousand_half_open_connections_delay_nobody(delivery: str) -> None:
    """With room for all, other clients do not wait; the server drops silent ones."""
    count = room_for(10_000)
    args = f"--workers 2 --worker-connections {count + 100} --backlog 2048"
    with (
        Server(delivery, args=args) as server,
        unharmed(server),
        connections(server, count // 2) as silent,
        connections(server, count // 2, sent=HALF_A_HEAD) as slow,
    ):
        # A request's head may take as long as gunicorn's keepalive, and no longer.
        wait_until(lambda: is_ended(silent[-1]) and is_ended(slow[-1]))


def test_more_half_open_connections_than_worker_connections_pass() -> None:
    """New clients wait until the server has dropped them, and are then served."""
    args = "--worker-connections 100 --backlog 2048 --keep-alive 1"
    with Server(args=args) as server, server.stream() as stream:
        stream.next("connected")
        with connections(server, 300):
            server.publish("late")
            assert stream.data(1) == ["late"]


def test_bodies_that_stop_half_way_delay_nobody(server: Server) -> None:
    """Each occupies one of the worker_connections; the others serve new clients."""
    with unharmed(server), connections(server, 800, sent=HALF_A_BODY):
        assert server.get("/events/health") == (200, b'{"status":"ready"}\n')


def test_more_half_bodies_than_worker_connections_pass_with_our_settings(
    tmp_path: Path,
) -> None:
    """Without our settings, a server waits for such a body for ever."""
    config = tmp_path / "gunicorn.conf.py"
    ours = (ROOT / "gunicorn.conf.py").read_text()
    config.write_text(f"{ours}\nbody_timeout = 1.0\nworkers = 1\n")
    args = f"-c {config} --worker-connections 100"
    with Server(args=args) as server, server.stream() as stream:
        stream.next("connected")
        with connections(server, 300, sent=HALF_A_BODY):
            server.publish("late")
            assert stream.data(1) == ["late"]


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_vanished_clients_are_dropped_by_a_heartbeat(delivery: str) -> None:
    """A client that vanishes sends no FIN; the next heartbeat reveals the loss."""
    args = "--worker-connections 2000 --backlog 2048"
    with (
        Server(
            delivery, args=args, heartbeat_interval=1, max_clients_per_user=None
        ) as server,
        unharmed(server),
        crowd(server.port, 500) as them,
    ):
        try:
            for member in them.members:
                vanish(member.socket)
        except PermissionError:
            absent("CAP_NET_ADMIN", remedy="run the tests as root")
        wait_until(lambda: server.stats()["connections"] == 1)


def test_streams_that_are_dropped_at_once_leave_nothing(server: Server) -> None:
    """The drop may come at any moment of the request."""
    with unharmed(server):
        for number in range(1000):
            connection = raw_request(server.port)
            if number % 2:
                # Closing a socket with unread bytes sends a reset instead of a FIN.
                connection.recv(1)
            connection.close()
        wait_until(lambda: server.stats()["connections"] == 1)
