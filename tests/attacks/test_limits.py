"""Limits from outside: refused clients, their answers, and clients still served."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kit.reader import StreamReader, wait_until
from tests.live.server import DELIVERIES, Server

pytestmark = pytest.mark.live

FRIEND = "https://app.example"


@pytest.fixture
def streams() -> Iterator[ExitStack]:
    """Streams that end with the test."""
    with ExitStack() as stack:
        yield stack


def greeted(streams: ExitStack, server: Server, user: str = "alice") -> StreamReader:
    stream = streams.enter_context(server.stream(user=user))
    stream.next("connected")
    return stream


def refusals(server: Server) -> dict[str, tuple[int, bytes]]:
    """Return the answers to a browser and to a client that handles statuses."""
    bearer = "Bearer alice"
    status, body, headers = server.request(
        "GET", "/events", Authorization=bearer, Prefer="sse-status"
    )
    assert 1 <= int(headers["Retry-After"]) <= 60
    return {
        "browser": server.get("/events", Authorization=bearer),
        "others": (status, body),
    }


@pytest.mark.parametrize(
    ("kind", "args", "setting", "places"),
    [
        (
            "gunicorn-gevent-generator",
            "--worker-connections 10",
            "worker_connections",
            9,
        ),
        ("gunicorn-gthread", "--threads 4", "threads", 3),
    ],
)
def test_generators_leave_room_for_ordinary_requests(
    streams: ExitStack, kind: str, args: str, setting: str, places: int
) -> None:
    """A worker without a free place would answer no request and report nothing."""
    with Server(kind, args=args) as server:
        for _ in range(places):
            last = greeted(streams, server)
        told = refusals(server)
        assert told["browser"][0] == 200
        assert told["browser"][1].startswith(b"retry: ")
        assert told["others"][0] == 503
        assert setting.encode() in told["others"][1]
        status, health = server.get("/events/health")
        assert status == 503
        assert setting in json.loads(health)["reason"]
        assert server.get("/slow")[0] == 200
        assert f"({setting})" in server.log
        last.close()
        wait_until(lambda: server.get("/events/health")[0] == 200)
        greeted(streams, server)


def test_streams_on_sockets_of_their_own_need_no_room(streams: ExitStack) -> None:
    """The requests of such streams end as soon as the streams begin."""
    with Server(args="--worker-connections 10") as server:
        for _ in range(20):
            greeted(streams, server)
        assert server.get("/events/health")[0] == 200


@pytest.mark.parametrize("kind", DELIVERIES)
class TestLimits:
    def test_a_limit_of_streams_per_user(self, streams: ExitStack, kind: str) -> None:
        """Beyond it, the oldest stream ends or the new one is refused."""
        with Server(kind, max_clients_per_user=1) as server:
            first = greeted(streams, server)
            greeted(streams, server)
            first.wait_for_end()
        with Server(kind, max_clients_per_user=1, on_user_limit="refuse") as server:
            greeted(streams, server)
            assert refusals(server)["others"][0] == 429
            greeted(streams, server, "bob")

    def test_a_limit_of_streams_per_ip(self, streams: ExitStack, kind: str) -> None:
        """The streams of all users of an IP count; one that ends makes room."""
        with Server(kind, max_clients_per_ip=2) as server:
            first = greeted(streams, server)
            greeted(streams, server, "bob")
            told = refusals(server)
            assert told["browser"][1].startswith(b"retry: ")
            assert told["others"][0] == 429
            first.close()
            wait_until(lambda: server.stats()["connections"] == 1)
            greeted(streams, server)

    def test_a_limit_of_the_connect_rate(self, streams: ExitStack, kind: str) -> None:
        """Ordinary requests are not counted."""
        with Server(kind, connect_rate="3/hour") as server:
            for _ in range(3):
                greeted(streams, server)
            assert refusals(server)["others"][0] == 429
            assert server.get("/slow")[0] == 200


@pytest.fixture(scope="module", params=DELIVERIES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param, max_channels=1, cors_origins=[FRIEND]) as server:
        yield server


def test_a_stream_of_too_many_channels_is_refused(server: Server) -> None:
    """The refusal is final: the page itself asks for too many."""
    path = "/events?channel=news&channel=alice"
    assert server.get(path, Authorization="Bearer alice")[0] == 400


def test_a_configured_origin_may_open_a_stream(
    streams: ExitStack, server: Server
) -> None:
    """A preflight allows the Last-Event-ID header; other origins are refused."""
    asked = {"Access_Control_Request_Method": "GET", "Origin": FRIEND}
    status, _, headers = server.request("OPTIONS", "/events", **asked)
    assert status == 200
    assert "Last-Event-ID" in headers["Access-Control-Allow-Headers"]
    stream = server.open("/events", query={}, Origin=FRIEND, **ALICE)
    assert isinstance(stream, StreamReader)
    streams.enter_context(stream).next("connected")
    strange = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
    assert server.open("/events", query={}, **strange, **ALICE) == 403


ALICE = {"Authorization": "Bearer alice"}
