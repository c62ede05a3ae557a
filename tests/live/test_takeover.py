"""The takeover of sockets from gunicorn, and the cases that rule it out."""

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.ports import HOST
from tests.kit.reader import wait_until
from tests.live.crowd import crowd
from tests.live.server import Server, raw_request

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def unix_socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a Unix socket on which ``server`` listens too."""
    return tmp_path_factory.mktemp("unix") / "socket"


@pytest.fixture(scope="module")
def server(unix_socket: Path) -> Iterator[Server]:
    with Server(args=f"-b unix:{unix_socket}", max_clients_per_user=None) as server:
        yield server


def delivery(server: Server, path: str = "/events") -> dict[str, int]:
    """Open a stream, check that it delivers, and return the counts of deliveries."""
    with server.stream(path) as stream:
        stream.next("connected")
        server.publish("x")
        assert stream.data(1) == ["x"]
        found: dict[str, int] = server.stats()["delivery"]
    wait_until(lambda: server.stats()["connections"] == 0)
    return found


def test_streams_leave_by_their_own_sockets(server: Server) -> None:
    """The takeover is the normal case under gunicorn's gevent worker."""
    assert delivery(server) == {"socket": 1}


def test_it_can_be_switched_off() -> None:
    """With SSE_HUB_SOCKET_TAKEOVER = False a generator serves the same stream."""
    with Server(socket_takeover=False) as server:
        assert delivery(server) == {"generator": 1}


def test_the_head_is_the_response_s_own(server: Server) -> None:
    """Headers and hooks of the app apply, cookies do not; the hook sees the end."""
    with server.stream("/with-hooks/sse") as stream:
        stream.next("connected")
        headers = stream._chunks.response.headers  # type: ignore[attr-defined]
        assert headers["X-Hook"] == "run"
        assert headers["Content-Type"].startswith("text/event-stream")
        assert headers["Connection"] == "close"
        assert "Set-Cookie" not in headers
        wait_until(lambda: "the response was closed" in server.log)
    assert server.log.count("the response was closed") == 1


@pytest.mark.parametrize(
    ("asked", "is_chunked"),
    [
        ("HTTP/1.1\r\nHost: x", True),
        ("HTTP/1.0", False),
        ("HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0 (X11)", False),
    ],
    ids=["program", "old program", "browser"],
)
def test_programs_get_their_stream_in_chunks(
    server: Server, asked: str, is_chunked: bool
) -> None:
    """Libraries of programs would wait for a full buffer otherwise.

    A browser shows what has arrived. For a stream in chunks that is cut off, as by a
    logout, it would show an error.
    """
    with socket.create_connection((HOST, server.port), timeout=10.0) as sock:
        who = "Authorization: Bearer alice"
        sock.sendall(f"GET /events {asked}\r\n{who}\r\n\r\n".encode())
        received = b""
        while b"event: connected" not in received:
            received += sock.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        assert (b"\r\nTransfer-Encoding: chunked" in head) == is_chunked
        assert body.startswith(b"retry: ") != is_chunked
        assert server.stats()["delivery"] == {"socket": 1}
    wait_until(lambda: server.stats()["connections"] == 0)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_that_was_used_before_is_taken_over(
    server: Server, version: str
) -> None:
    """A keep-alive connection may have answered another request first."""
    with socket.create_connection((HOST, server.port), timeout=10.0) as sock:
        lines = f"HTTP/{version}\r\nHost: x\r\nConnection: keep-alive\r\n"
        sock.sendall(f"GET /events/health/live {lines}\r\n".encode())
        assert b"200 OK" in sock.recv(65536)
        who = "Authorization: Bearer alice\r\n"
        sock.sendall(f"GET /events {lines}{who}\r\n".encode())
        received = b""
        while b"event: connected" not in received:
            received += sock.recv(65536)
        assert server.stats()["delivery"] == {"socket": 1}
    wait_until(lambda: server.stats()["connections"] == 0)


def test_a_request_with_a_body_is_served_by_generator(server: Server) -> None:
    """The hub must not throw away the part of the body that the view has not read."""
    with socket.create_connection((HOST, server.port), timeout=10.0) as sock:
        sock.sendall(
            b"POST /events-by-post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Authorization: Bearer alice\r\n\r\nbody"
        )
        received = b""
        while b"event: connected" not in received:
            received += sock.recv(65536)
        assert server.stats()["delivery"] == {"generator": 1}
    wait_until(lambda: server.stats()["connections"] == 0)


def test_a_unix_socket_is_taken_over_too(server: Server, unix_socket: Path) -> None:
    """An nginx on the same machine connects by one."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10.0)
        sock.connect(str(unix_socket))
        sock.sendall(b"GET /events HTTP/1.0\r\nAuthorization: Bearer bob\r\n\r\n")
        received = b""
        while b"event: connected" not in received:
            received += sock.recv(65536)
        assert server.stats()["delivery"] == {"socket": 1}
        server.publish("x")
        while b"data: x" not in received:
            received += sock.recv(65536)
    wait_until(lambda: server.stats()["connections"] == 0)


def test_gunicorns_own_tls_is_served_by_generator(tmp_path: Path) -> None:
    """The encryption of a connection cannot be shared by all clients."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = f"req -x509 -newkey rsa:2048 -nodes -days 1 -keyout {key} -out {cert}"
    subprocess.run(
        ["openssl", *words.split(), "-subj", "/CN=localhost"],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(cafile=str(cert))
    context.check_hostname = False
    with Server(
        args=f"--keyfile {key} --certfile {cert}", answers_http1=False
    ) as server:
        plain = socket.create_connection((HOST, server.port), timeout=10.0)
        with context.wrap_socket(plain) as sock:
            sock.sendall(b"GET /events HTTP/1.0\r\nAuthorization: Bearer bob\r\n\r\n")
            received = b""
            while b"event: connected" not in received:
                received += sock.recv(65536)
            other = http.client.HTTPSConnection(HOST, server.port, context=context)
            other.request("GET", "/events/stats")
            stats = json.loads(other.getresponse().read())
            other.close()
            assert stats["delivery"] == {"generator": 1}


class TestMiddlewares:
    def test_sentry_is_no_obstacle(self) -> None:
        """Sentry wraps every response, except one that a server may send by itself."""
        with Server(middleware="use_sentry") as server:
            assert delivery(server) == {"socket": 1}

    def test_proxyfix_is_no_obstacle(self) -> None:
        """Every app behind a proxy has it."""
        with Server(middleware="trust_proxy") as server:
            assert delivery(server) == {"socket": 1}

    def test_one_that_wraps_the_body_is_named_once(self) -> None:
        """Without a warning, its users would meet gunicorn's limit of connections."""
        with Server(middleware="wrap_body") as server:
            assert delivery(server) == {"generator": 1}
            assert delivery(server) == {"generator": 1}
            assert server.log.count("tests.live.middlewares wraps the response") == 1
            assert "worker_connections" in server.log

    def test_one_that_adds_headers_is_no_obstacle(self) -> None:
        """The head is the one that gunicorn itself would have sent."""
        with Server(middleware="add_header") as server:
            assert delivery(server) == {"socket": 1}
            with server.stream() as stream:
                stream.next("connected")
                headers = stream._chunks.response.headers  # type: ignore[attr-defined]
                assert headers["X-Added"] == "later"

    def test_one_that_hides_gunicorns_response_is_served_by_generator(self) -> None:
        """The final headers are unknown then. Its users are warned once too."""
        with Server(middleware="hide_write") as server:
            assert delivery(server) == {"generator": 1}
            assert delivery(server) == {"generator": 1}
            # The site sets up no logging, so only warnings and errors are logged.
            assert server.log.count("hides gunicorn's") == 1
            assert "worker_connections" in server.log


def test_streams_take_none_of_the_workers_connections() -> None:
    """Ordinary requests are answered as if no streams were open."""
    with (
        Server(
            args="--worker-connections 50 --backlog 2048", max_clients_per_user=None
        ) as server,
        crowd(server.port, 500) as them,
    ):
        assert server.stats()["delivery"] == {"socket": 500}
        server.publish("x")
        them.read_until(lambda member: member.data == ["x"])


def test_a_peer_that_has_gone_is_noticed_without_traffic(server: Server) -> None:
    """The kernel notices, long before the next heartbeat."""
    sock = raw_request(server.port)
    wait_until(lambda: server.stats()["connections"] == 1)
    sock.close()
    wait_until(lambda: server.stats()["connections"] == 0, within=5.0)
    assert server.stats()["closed"]["client_gone"] >= 1


def test_a_hook_that_fails_writes_nothing_into_the_stream(server: Server) -> None:
    """Gunicorn would answer the error on a connection that the writer owns by then."""
    with socket.create_connection((HOST, server.port), timeout=10.0) as sock:
        sock.sendall(
            b"GET /failing-hook/sse HTTP/1.0\r\nAuthorization: Bearer alice\r\n\r\n"
        )
        received = b""
        while b"event: connected" not in received:
            received += sock.recv(65536)
        wait_until(lambda: "a hook that fails" in server.log)
        server.publish("x")
        while b"data: x" not in received:
            received += sock.recv(65536)
        assert received.count(b"HTTP/1.") == 1
    wait_until(lambda: server.stats()["connections"] == 0)
