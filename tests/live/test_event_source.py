"""The stream of one request over real servers: its events, and its traces."""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.kit.ports import HOST
from tests.kit.reader import EndOfStream, StreamReader, wait_until
from tests.kit.sse_parser import ParsedEvent, Parser
from tests.live.answers import PIECE, PIECES
from tests.live.crowd import crowd
from tests.live.server import Server, gone, raw_request

pytestmark = pytest.mark.live

#: Seconds, far below graceful_timeout, after which gunicorn would kill.
SOON = 8.0

#: Servers that run iterables in greenlets, which can be interrupted.
INTERRUPTING = ["gunicorn-gevent", "pywsgi"]


class Site:
    """A server, and the traces that its streams have left."""

    def __init__(self, kind: str, server: Server) -> None:
        self.interrupts = kind in INTERRUPTING
        self.server = server
        # The first stream imports modules and opens files that stay.
        stream = self.stream("querying")
        stream.data(1)
        self.release()
        stream.wait_for_end()
        stream.close()
        wait_until(lambda: self.state()["streaming"] == 0)
        self._before = self._held()

    def state(self) -> dict[str, Any]:
        return self.server.json("/answers/")

    def stream(self, kind: str, **headers: str) -> StreamReader:
        return self.server.stream(f"/answers/{kind}", user=None, **headers)

    def release(self) -> None:
        assert self.server.request("POST", "/answers/release")[0] == 200

    def release_threads(self) -> None:
        """Let upstream calls return if the server cannot interrupt them."""
        if not self.interrupts:
            self.release()

    @contextmanager
    def begins(self) -> Iterator[None]:
        """Wait at the end of this block until an iterable has begun in it."""
        before = self.state()["begun"]
        yield
        wait_until(lambda: self.state()["begun"] > before)

    def _held(self) -> dict[str, Any]:
        process = self.server.json("/process")
        held = {what: process[what] for what in ("descriptors", "connections")}
        return held | (
            self.server.json("/answers/greenlets") if self.interrupts else {}
        )

    def nothing_is_left(self) -> bool:
        state = self.state()
        if (
            state["made"] != state["closed"]
            or state["begun"] != state["finally"]
            or state["streaming"]
        ):
            return False
        held = self._held()
        return all(held[what] <= self._before[what] for what in held)


@pytest.fixture(scope="module", params=[*INTERRUPTING, "gunicorn-gthread", "flask-run"])
def started(request: pytest.FixtureRequest) -> Iterator[Site]:
    with Server(request.param) as server:
        yield Site(request.param, server)


@pytest.fixture
def site(started: Site) -> Iterator[Site]:
    """A server on which each test leaves no traces, and closes each iterable once."""
    yield started

    def nothing_is_left() -> bool:
        # An iterable may begin to wait after its client has left.
        started.release_threads()
        return started.nothing_is_left()

    wait_until(nothing_is_left)


def rest_of(stream: StreamReader) -> list[ParsedEvent]:
    """Read to the end of the stream."""
    seen = []
    try:
        while True:
            seen.append(stream.next())
    except EndOfStream:
        return seen


def test_tokens_come_as_they_are_made_and_then_the_end(site: Site) -> None:
    """The first token arrives before the second exists."""
    with site.stream("waiting") as stream:
        assert stream.raw == b"" or stream.raw.startswith(b":\n")
        assert stream.next().data == "first"
        assert stream.raw.startswith(b":\n")
        site.release()
        *tokens, done = rest_of(stream)
        assert [token.data for token in tokens] == [str(n) for n in range(20)]
        assert done.type == "done"
        assert json.loads(done.data)["id"] == done.id


def test_a_post_is_answered_alike_and_batches_merge(site: Site) -> None:
    """The prompt of a chat is sent by POST."""
    status, body, headers = site.server.request("POST", "/answers/large?merge=1")
    assert status == 200
    assert headers["Cache-Control"] == "private, no-cache, no-transform"
    assert body.count(PIECE[0].encode()) == len(PIECE) * PIECES
    assert body.count(b"data: ") < PIECES
    assert body.count(b"event: done") == 1


def test_who_comes_back_after_the_end_runs_nothing(site: Site) -> None:
    """A native EventSource comes back and ends with 204; HEAD begins nothing either."""
    with site.stream("in-the-middle") as stream:
        last = stream.next("error").id
    begun = site.state()["begun"]
    path = "/answers/waiting"
    assert site.server.get(path, Last_Event_ID=last)[0] == 204
    assert site.server.get(f"{path}?last_event_id={last}")[0] == 204
    assert site.server.request("HEAD", path)[:2] == (200, b"")
    assert site.state()["begun"] == begun


def test_an_iterable_that_never_yields_gets_heartbeats(site: Site) -> None:
    """Heartbeats begin with the first byte and go on until the client leaves."""
    with site.begins(), site.stream("silent?heartbeat=0.05") as stream:
        wait_until(lambda: stream._arrived.qsize() > 3)


@pytest.mark.parametrize("kind", ["at-once", "in-the-middle", "in-its-finally"])
def test_an_iterable_that_fails_is_told_by_one_event(site: Site, kind: str) -> None:
    """The event hides the error; the traceback is in the log, under the same id."""
    with site.stream(kind) as stream:
        *before, error = rest_of(stream)
        assert [each.data for each in before] in ([], ["first"])
        assert error.type == "error"
        assert "a secret" not in error.data
        assert site.server.log.count(json.loads(error.data)["id"]) == 1
        assert "LookupError: a secret" in site.server.log


def test_ten_megabytes_come_whole(site: Site) -> None:
    """They are ten thousand events."""
    _, body = site.server.get("/answers/large")
    events, _, end = body.partition(b"id: ")
    assert events == b":\n" + f"data: {PIECE}\n\n".encode() * PIECES
    (done,) = Parser().feed(b"id: " + end)
    assert done.type == "done"


def test_a_client_that_reads_little_slows_the_iterable(site: Site) -> None:
    """The server never holds ten megabytes for it, and serves others meanwhile."""
    before = site.state()["yielded"]
    with slow_socket(site.server.port, "/answers/large") as client:
        steady = 0
        last = -1

        def is_steady() -> bool:
            nonlocal steady, last
            assert client.recv(1)
            yielded = site.state()["yielded"] - before
            steady = steady + 1 if yielded == last > 0 else 0
            last = yielded
            return steady > 10

        wait_until(is_steady)
        assert last < PIECES


def slow_socket(port: int, path: str) -> socket.socket:
    """Return a socket for which the kernel buffers little ahead of the reader."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((HOST, port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


@pytest.mark.parametrize(
    "kind",
    ["silent", "waiting", "at-once", "in-the-middle", "in-its-finally", "large"],
)
def test_a_client_that_leaves_before_the_first_byte_leaves_nothing(
    site: Site, kind: str
) -> None:
    """Every kind of iterable is closed."""
    made = site.state()["made"]
    for _ in range(5):
        raw_request(site.server.port, f"/answers/{kind}").close()
    wait_until(lambda: site.state()["made"] == made + 5)


def test_a_client_that_leaves_interrupts_the_upstream_call(site: Site) -> None:
    """The iterable's finally runs, in a real thread once the call has returned."""
    finals = site.state()["finally"]
    for kind in ("silent", "waiting"):
        with site.begins():
            stream = site.stream(f"{kind}?heartbeat=100")
        stream.close()
        if not site.interrupts:
            wait_until(lambda: site.state()["streaming"] == 1)
            assert site.state()["finally"] == finals
            site.release()
        finals += 1
        wait_until(lambda finals=finals: site.state()["finally"] == finals)  # type: ignore[misc]


def test_a_client_that_leaves_in_the_middle_of_much_leaves_nothing(site: Site) -> None:
    """The server is blocked in a write at that moment."""
    with site.begins():
        client = raw_request(site.server.port, "/answers/large")
    client.close()


@pytest.mark.parametrize("kind", ["gunicorn-gevent", "gunicorn-gthread"])
def test_a_middleware_that_forgets_to_close_leaves_nothing(kind: str) -> None:
    """The iterable is stopped when the server closes the connection."""
    with Server(kind, middleware="forget_close") as server:
        site = Site(kind, server)
        for path in ("large", "waiting", "large"):
            with site.begins():
                client = raw_request(server.port, f"/answers/{path}")
            assert client.recv(1)
            client.close()
        wait_until(lambda: site.state()["closed"] >= 3)
        site.release_threads()
        wait_until(site.nothing_is_left)


def test_a_database_session_is_given_back_at_the_end(site: Site) -> None:
    """So it is when the client leaves. Only a stream that asks has an app context."""
    with site.stream("querying") as stream:
        assert stream.data(1) == ["3"]
        assert site.server.json("/process")["connections"] == 1
        site.release()
        assert rest_of(stream)[-1].type == "done"
        assert site.server.json("/process")["connections"] == 0
    with site.stream("querying") as stream:
        assert stream.data(1) == ["3"]
        assert site.server.json("/process")["connections"] == 1
    site.release_threads()
    wait_until(lambda: site.server.json("/process")["connections"] == 0)


@pytest.mark.parametrize("started", ["gunicorn-gevent"], indirect=True)
def test_five_hundred_streams_on_one_worker(site: Site) -> None:
    """Each receives its own tokens at the same time, and nothing is left."""
    with crowd(site.server.port, 500, path="/answers/waiting") as them:
        # One for each producer, and one for the watch.
        assert site.state()["streaming"] == 501
        site.release()
        them.read_until(lambda member: member.ended)
        for member in them.members:
            assert member.data == ["first", *(str(n) for n in range(20))]
            assert member.events[-1].type == "done"
    with crowd(site.server.port, 500, path="/answers/waiting"):
        # All of these leave at once.
        assert site.state()["streaming"] == 501
    wait_until(site.nothing_is_left)


GUNICORNS = ["gunicorn-gevent", "gunicorn-gthread"]


@pytest.mark.parametrize("kind", GUNICORNS)
def test_a_worker_that_stops_lets_a_stream_finish(kind: str) -> None:
    """Gunicorn waits for its streams until graceful_timeout."""
    with Server(kind) as server:
        with server.stream("/answers/outlasting", user=None) as stream:
            assert stream.data(1) == ["first"]
            server.signal(signal.SIGTERM)
            last, done = rest_of(stream)
            assert (last.data, done.type) == ("last", "done")
        assert server.process.wait(SOON) == 0


@pytest.mark.parametrize("kind", GUNICORNS)
def test_a_worker_that_stops_tells_those_who_are_not_done(kind: str) -> None:
    """The event precedes a kill by gunicorn, so that the iterable's finally runs."""
    with Server(kind, args="--graceful-timeout 3") as server:
        worker = server.worker()
        with (
            server.stream("/answers/waiting", user=None) as stream,
            raw_request(server.port, "/answers/large") as stalled,
        ):
            assert stream.data(1) == ["first"]
            assert stalled.recv(1)
            server.signal(signal.SIGTERM)
            (error,) = rest_of(stream)
            assert error.type == "error"
            assert json.loads(error.data)["reason"] == "shutdown"
            wait_until(lambda: gone(worker), within=SOON)
        assert server.process.wait(SOON) == 0
        assert "graceful timeout" not in server.log.lower()
        # A real thread that waits for its upstream cannot be ended.
        finals = 2 if kind == "gunicorn-gevent" else 1
        assert server.log.count("the finally ran") == finals


def test_a_worker_that_stops_at_once_ends_its_streams() -> None:
    """QUIT leaves a tenth of a second, and the time that its exit takes.

    Iterables clean up within the exit.
    """
    with Server() as server:
        with server.stream("/answers/cleaning-up", user=None) as stream:
            assert stream.data(1) == ["first"]
            server.signal(signal.SIGQUIT)
            (error,) = rest_of(stream)
            assert json.loads(error.data)["reason"] == "shutdown"
        assert server.process.wait(SOON) == 0
        assert server.log.count("the finally ran") == 1


def test_a_sync_worker_is_refused() -> None:
    """The log names the remedy."""
    with Server("gunicorn-sync") as server:
        assert server.get("/answers/waiting")[0] == 500
        assert "start it with `-k gevent`" in server.log


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("gunicorn-gthread", "--threads 3"),
        ("gunicorn-gevent", "--worker-connections 3"),
    ],
)
def test_streams_leave_a_worker_room_for_other_requests(
    kind: str, setting: str
) -> None:
    """Health is answered while more streams are refused with a time to come back."""
    with (
        Server(kind, args=setting) as server,
        server.stream("/answers/waiting", user=None) as first,
        server.stream("/answers/waiting", user=None) as second,
    ):
        assert first.data(1) == second.data(1) == ["first"]
        refused = server.stream("/answers/waiting", user=None)
        refused.wait_for_end()
        assert refused.raw.startswith(b"retry: ")
        status, _, headers = server.request("POST", "/answers/waiting")
        assert (status, headers["Retry-After"]) == (503, "10")
        assert server.get("/events/health/live")[0] == 200
        assert "2 of the 3 requests that this worker serves at once" in server.log
        server.request("POST", "/answers/release")
        first.wait_for_end()
        wait_until(lambda: server.json("/answers/")["streaming"] < 3)
        status, body, _ = server.request("POST", "/answers/in-the-middle")
        assert (status, body.count(b"event: error")) == (200, 1)


def test_they_share_the_room_with_the_streams_of_a_hub() -> None:
    """Each leaves a twentieth of all places free, not a twentieth of the rest."""
    with (
        Server("gunicorn-gthread", args="--threads 3") as server,
        server.stream() as one_of_hub,
        server.stream("/answers/waiting", user=None) as answer,
    ):
        one_of_hub.next("connected")
        assert answer.data(1) == ["first"]
        for path in ("/events", "/answers/waiting"):
            refused = server.stream(path)
            refused.wait_for_end()
            assert refused.raw.startswith(b"retry: ")
        status, body, _ = server.request("GET", "/events/health")
        assert (status, b"2 of the 3 requests" in body) == (503, True)
        server.request("POST", "/answers/release")
        answer.wait_for_end()
        wait_until(lambda: server.get("/events/health")[0] == 200)
