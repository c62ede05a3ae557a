"""Requests that no client would send: one answer each, and nothing is left behind."""

import socket
from collections.abc import Iterator

import pytest

from tests.attacks.attack import unharmed
from tests.kit.ports import HOST
from tests.kit.reader import DEADLINE
from tests.live.server import DELIVERIES, Server

pytestmark = pytest.mark.live

WHO = b"Host: localhost\r\nAuthorization: Bearer alice\r\n"
STREAM = b"GET /events HTTP/1.1\r\n" + WHO
POST = b"POST /publish HTTP/1.1\r\n" + WHO + b"Content-Type: application/json\r\n"
SECOND = b"POST /disconnect/alice HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

#: Requests that open one stream; their remaining bytes are not a second request.
STREAMS = {
    "pipelined": STREAM + b"Connection: keep-alive\r\n\r\n" + SECOND,
    "no body": STREAM + b"Content-Length: 0\r\n\r\n" + SECOND,
    "a body": STREAM + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND,
    "chunks": STREAM
    + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    % (len(SECOND), SECOND),
    "an old version": b"GET /events HTTP/1.0\r\nConnection: keep-alive\r\n"
    + WHO
    + b"\r\n",
    "absolute": b"GET http://elsewhere/events HTTP/1.1\r\n" + WHO + b"\r\n",
    "h2c": STREAM + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "long id": STREAM + b"Last-Event-ID: %s\r\n\r\n" % (b"9" * 8000),
    "bytes as id": STREAM + b"Last-Event-ID: \xff\xfe\r\n\r\n",
    "lines in id": b"GET /events?last_event_id=a%0d%0adata:%20b HTTP/1.1\r\n"
    + WHO
    + b"\r\n",
}

#: Requests that are refused, with the status of each.
REFUSED = {
    "10 MB of id": (STREAM + b"Last-Event-ID: " + b"9" * 10_000_000, 431),
    "two lengths": (
        STREAM + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        400,
    ),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", 400),
    "lines in client": (b"GET /events?client_id=a%0d%0ab HTTP/1.1\r\n" + WHO, 400),
    "lines in channel": (b"GET /events?channel=a%0d%0ab HTTP/1.1\r\n" + WHO, 400),
    "deep JSON": (POST + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000, 500),
}


@pytest.fixture(params=DELIVERIES, scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    # A generator notices a lost peer by a heartbeat, if unread bytes hide its FIN.
    settings = {"max_clients_per_user": None, "heartbeat_interval": 1}
    with Server(request.param, **settings) as server:  # type: ignore[arg-type]
        yield server


def read_until(connection: socket.socket, wanted: bytes, received: bytes) -> bytes:
    while wanted not in received:
        received += connection.recv(65536)
    return received


def test_odd_requests_open_one_stream_each(server: Server) -> None:
    """Bytes after the request are never taken for another request."""
    with unharmed(server):
        for name, sent in STREAMS.items():
            with socket.create_connection((HOST, server.port), DEADLINE) as connection:
                connection.sendall(sent)
                received = read_until(connection, b"event: connected", b"")
                server.publish(name)
                received = read_until(connection, f"data: {name}".encode(), received)
            assert received.count(b"HTTP/1.") == 1, name
        assert server.stats()["closed"].keys() <= {"client_gone"}


def test_invalid_requests_are_refused(server: Server) -> None:
    """Each receives one answer, and other clients do not wait."""
    with unharmed(server):
        for name, (sent, status) in REFUSED.items():
            with socket.create_connection((HOST, server.port), DEADLINE) as connection:
                try:
                    connection.sendall(sent + b"\r\n")
                except ConnectionError:
                    # The server answered before it had read the whole request.
                    assert name == "10 MB of id"
                received = read_until(connection, b"\r\n", b"")
            assert int(received.split()[1]) == status, name


def test_bytes_that_a_client_sends_later_are_not_kept(server: Server) -> None:
    """Its stream is closed, or the bytes wait in the client's own socket."""
    with (
        unharmed(server),
        socket.create_connection((HOST, server.port), DEADLINE) as connection,
    ):
        connection.sendall(STREAM + b"\r\n")
        read_until(connection, b"event: connected", b"")
        connection.setblocking(False)
        try:
            while connection.send(SECOND * 1000):
                pass
        except (BlockingIOError, ConnectionError):
            assert server.get("/events/health/live")[0] == 200
