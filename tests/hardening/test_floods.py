"""Very many who connect and say little or nothing: everybody else is still served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hardening.attack import connections, is_ended, room_for, unharmed, vanish
from tests.live.crowd import crowd
from tests.live.server import DELIVERIES, ROOT, Server, raw_request
from tests.reader import wait_until
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
def test_ten_thousand_half_open_connections(delivery: str) -> None:
    """With room for them nobody else waits; the server drops them by itself."""
    count = room_for(10_000)
    args = f"--workers 2 --worker-connections {count + 100} --backlog 2048"
    with (
        Server(delivery, args=args) as server,
        unharmed(server),
        connections(server, count // 2) as silent,
        connections(server, count // 2, sent=HALF_A_HEAD) as slow,
    ):
        # A head may take no longer than gunicorn's keepalive.
        wait_until(lambda: is_ended(silent[-1]) and is_ended(slow[-1]))


def test_more_of_them_than_worker_connections() -> None:
    """Who comes meanwhile waits until the server has dropped them, and is answered."""
    args = "--worker-connections 100 --backlog 2048 --keep-alive 1"
    with Server(args=args) as server, server.stream() as stream:
        stream.next("connected")
        with connections(server, 300):
            server.publish("late")
            assert stream.data(1) == ["late"]


def test_bodies_that_stop_half_way(server: Server) -> None:
    """They hold what they have; while there are more worker_connections all is well."""
    with unharmed(server), connections(server, 800, sent=HALF_A_BODY):
        assert server.get("/events/health") == (200, b'{"status":"ready"}\n')


def test_more_of_them_than_worker_connections_with_our_settings(tmp_path: Path) -> None:
    """A body without an end is waited for otherwise."""
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
def test_clients_that_vanish(delivery: str) -> None:
    """Without a FIN, as after a loss of power: the next ping finds out."""
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
            absent("CAP_NET_ADMIN", remedy="run it as root, who can vanish")
        wait_until(lambda: server.stats()["connections"] == 1)


def test_streams_that_are_asked_for_and_dropped(server: Server) -> None:
    """Whatever moment of the request the drop meets."""
    with unharmed(server):
        for number in range(1000):
            connection = raw_request(server.port)
            if number % 2:
                # A reset instead of a FIN.
                connection.recv(1)
            connection.close()
        wait_until(lambda: server.stats()["connections"] == 1)
