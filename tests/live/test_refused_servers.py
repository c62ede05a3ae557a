"""Servers that cannot hold streams refuse them, and the log names a remedy."""

import socket

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived

from tests.kit.ports import HOST
from tests.live.server import Server

pytestmark = pytest.mark.live


def test_a_sync_worker_is_refused_with_a_remedy() -> None:
    """One stream would block the worker for all others."""
    with Server("gunicorn-sync") as server:
        status, _ = server.get("/events", Authorization="Bearer alice")
        assert status == 500
        assert "start it with `-k gevent`" in server.log


def test_gthread_with_one_thread_is_refused_too() -> None:
    """One thread is gunicorn's default, and the first stream would take it."""
    with Server("gunicorn-sync", args="-k gthread") as server:
        assert server.get("/events", Authorization="Bearer alice")[0] == 500
        assert server.get("/events/health")[0] == 503


def test_a_development_server_without_threads_is_refused() -> None:
    """The first stream would block ``flask run`` too."""
    with Server("flask-run", args="--without-threads") as server:
        status, _ = server.get("/events", Authorization="Bearer alice")
        assert status == 500
        assert "leave out --without-threads" in server.log


def test_http2_inside_gunicorn_is_refused() -> None:
    """An open stream would block all other requests of its connection."""
    http2 = "--http-protocols h1,h2 --http2-cleartext prior-knowledge"
    with Server("gunicorn-gevent", args=http2, answers_http1=False) as server:
        assert http2_status(server.port, "/events/health/live") == "200"
        assert http2_status(server.port, "/events") == "500"
        assert "use HTTP/2 only between browsers and the proxy" in server.log


def http2_status(port: int, path: str) -> str:
    """Speak HTTP/2 from the first byte on, and return the status of one request."""
    connection = H2Connection(H2Configuration(client_side=True))
    with socket.create_connection((HOST, port), timeout=10.0) as sock:
        connection.initiate_connection()
        connection.send_headers(
            1,
            [
                (":method", "GET"),
                (":path", path),
                (":scheme", "http"),
                (":authority", HOST),
                ("authorization", "Bearer alice"),
            ],
            end_stream=True,
        )
        sock.sendall(connection.data_to_send())
        while data := sock.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, ResponseReceived):
                    return dict(event.headers)[b":status"].decode()
    return "the connection was closed"


def test_several_workers_are_refused_by_the_memory_broker() -> None:
    """Without an error, no event would reach the clients of another worker."""
    with Server(args="--workers 2", broker_url="memory://") as server:
        assert server.get("/events", Authorization="Bearer alice")[0] == 500
        assert server.request("POST", "/publish", body={"data": "x"})[0] == 500
        assert server.get("/events/health")[0] == 503
        assert "keeps events within one process" in server.log
