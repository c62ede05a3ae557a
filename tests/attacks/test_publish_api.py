"""Publishing over HTTP through real servers and interrupted connections."""

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.kit.ports import HOST
from tests.kit.reader import StreamReader
from tests.live.server import DELIVERIES, Server

pytestmark = pytest.mark.live

TOKEN = "a-token-for-everything"
NARROW = "a-token-for-orders-only"
EVENT = json.dumps({"data": "x", "target": "everyone"}).encode()


@pytest.fixture(scope="module", params=DELIVERIES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    tokens = [TOKEN, {"token": NARROW, "channels": ["orders.*"]}]
    with Server(
        request.param, args="--workers 2", publish_tokens=tokens, max_event_bytes=1000
    ) as server:
        yield server


def publish(server: Server, body: Any, *, token: str = TOKEN) -> tuple[int, Any]:
    status, answer, _ = server.request(
        "POST", "/events/publish", body=body, Authorization=f"Bearer {token}"
    )
    return status, json.loads(answer)


@contextmanager
def listening(
    server: Server, path: str = "/events", **options: Any
) -> Iterator[StreamReader]:
    """Open a stream that has received everything that earlier tests have published.

    Its worker may have been behind the log when the stream began.
    """
    with server.stream(path, **options) as stream:
        mark = secrets.token_hex(8)
        publish(server, {"data": mark, "target": "everyone"})
        while stream.data(1) != [mark]:
            pass
        yield stream


def send(server: Server, framing: str, *pieces: bytes) -> bytes:
    """Send a body in pieces, close our side for writing, and return the answer."""
    with socket.create_connection((HOST, server.port), timeout=10) as sock:
        sock.sendall(
            "POST /events/publish HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
            f"{framing}\r\n\r\n".encode()
        )
        for piece in pieces:
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as answer:
            return answer.read()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_an_event_arrives_at_its_target_only(server: Server) -> None:
    """Any worker may take the request."""
    with listening(server) as ann, listening(server, user="bob") as ben:
        assert len(ann.data(1)) == 1, "the mark of the second stream"
        status, answer = publish(server, {"data": "hers", "target": {"user": "alice"}})
        assert status == 202
        arrived = ann.next("message")
        assert (arrived.data, arrived.id) == ("hers", answer["id"])
        publish(server, {"data": "both", "target": "everyone"})
        assert ben.data(1) == ["both"]
        assert ann.data(1) == ["both"]


def test_a_list_is_published_as_a_whole_or_not_at_all(server: Server) -> None:
    """One event that is invalid or out of scope refuses the whole list."""
    mine, his = ({"data": d, "target": {"channel": d}} for d in ("orders.1", "news"))
    with listening(server, "/events?channel=news") as stream:
        assert publish(server, [his] * 2 + [{}])[0] == 400
        assert publish(server, [mine, his], token=NARROW)[0] == 403
        assert publish(server, [his | {"data": n} for n in "123"])[0] == 202
        assert stream.data(3) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("framing", "pieces", "status"),
    [
        (f"Content-Length: {len(EVENT)}", [EVENT[:9], EVENT[9:]], 202),
        (f"Content-Length: {len(EVENT) + 1}", [EVENT], 400),
        ("Content-Length: 99999999", [], 413),
        (
            "Transfer-Encoding: chunked",
            [chunk(EVENT[:9]), chunk(EVENT[9:]), chunk(b"")],
            202,
        ),
        ("Transfer-Encoding: chunked", [chunk(EVENT)], 400),
        ("Transfer-Encoding: chunked", [chunk(EVENT)[:-9]], 400),
        ("Transfer-Encoding: chunked", [chunk(EVENT), b"no length\r\n"], 400),
        ("Transfer-Encoding: chunked", [chunk(b" " * 10**6)] * 2, 413),
    ],
)
def test_an_incomplete_body_publishes_nothing(
    server: Server, framing: str, pieces: list[bytes], status: int
) -> None:
    """This holds even if the part that arrived is a valid event."""
    with listening(server) as stream:
        answer = send(server, framing, *pieces)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        publish(server, {"data": "after", "target": "everyone"})
        assert stream.data(1) == ["x" if status == 202 else "after"]
