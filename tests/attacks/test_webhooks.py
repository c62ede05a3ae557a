"""Webhooks through a real server: from a signed delivery to a client's stream."""

import hashlib
import hmac
import http.client
import socket
from collections.abc import Iterable, Iterator

import pytest

from tests.kit.ports import HOST
from tests.kit.reader import DEADLINE
from tests.live.server import Server

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(args="--workers 2") as server:
        yield server


def signature(body: bytes) -> str:
    return "sha256=" + hmac.new(b"live", body, hashlib.sha256).hexdigest()


def deliver(
    server: Server, body: bytes, *, sent: bytes | Iterable[bytes]
) -> tuple[int, str]:
    """Deliver a signed body; an iterable of bytes is sent in chunks."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=DEADLINE)
    try:
        headers = {"X-Signature-256": signature(body)}
        connection.request("POST", "/webhook", sent, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_delivery_that_comes_twice_is_one_event(server: Server) -> None:
    """Any worker may take it, whole or in chunks."""
    with server.stream() as stream:
        stream.next("connected")
        once, again = "é\n", "the end"
        body = once.encode()
        first = deliver(server, body, sent=body)
        assert first[0] == 200
        for chunks in (body, [body[:1], body[1:]], [bytes([byte]) for byte in body]):
            assert deliver(server, body, sent=chunks) == first
        assert deliver(server, again.encode(), sent=again.encode())[0] == 200
        assert stream.data(2) == [once, again]


def test_a_delivery_with_a_wrong_signature_is_refused(server: Server) -> None:
    """No event is published for it."""
    assert deliver(server, b"signed", sent=b"sent instead")[0] == 401


def test_a_body_is_bounded(server: Server) -> None:
    """A body in chunks, whose length is not known before, is bounded too."""
    body = b"x" * 1001
    for sent in (body, [body[:500], body[500:]]):
        assert deliver(server, body, sent=sent)[0] == 413


@pytest.mark.parametrize("start", ["Content-Length: 9\r\n\r\n", "9\r\n"])
def test_a_body_that_stops_half_way_is_refused(server: Server, start: str) -> None:
    """The part that arrived is not signed; the worker serves on."""
    if not start.startswith("Content"):
        start = f"Transfer-Encoding: chunked\r\n\r\n{start}"
    with socket.create_connection((HOST, server.port), DEADLINE) as sock:
        sock.sendall(
            f"POST /webhook HTTP/1.1\r\nHost: {HOST}\r\n"
            f"X-Signature-256: {signature(b'delivered')}\r\n{start}deliver".encode()
        )
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100).split()[1] in (b"400", b"401")
    assert "Traceback" not in server.log
