"""Places: streams leave ordinary requests a place, on each server with a limit."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kit.reader import wait_until
from tests.live.server import Server, raw_request

pytestmark = pytest.mark.live

#: Servers with few places: kind, arguments, places, and the setting for them.
SMALL = {
    "waitress": ("waitress", "", 4, "threads"),
    "cheroot": ("cheroot", "", 10, "numthreads"),
    "waitress connections": (
        "waitress",
        "--threads=20 --connection-limit=8",
        6,
        "connection_limit",
    ),
    "gevent": ("pywsgi-pool", "", 4, "spawn"),
    "gunicorn gthread": ("gunicorn-sync", "-k gthread --threads 4", 4, "threads"),
    "uwsgi threads": ("uwsgi", "--threads 4", 4, "threads"),
    "uwsgi gevent": ("uwsgi", "--gevent 4 --gevent-monkey-patch", 4, "gevent"),
    "mod_wsgi": ("mod_wsgi", "threads=4", 4, "threads"),
    "Apache's workers": ("mod_wsgi", "threads=20 workers=4", 4, "MaxRequestWorkers"),
}


@pytest.fixture(scope="module", params=SMALL)
def small(request: pytest.FixtureRequest) -> Iterator[tuple[Server, int, str]]:
    kind, args, places, setting = SMALL[request.param]
    with Server(kind, args=args, heartbeat_interval=0.5) as server:
        yield server, places, setting


@pytest.fixture(autouse=True)
def nobody_is_left(small: tuple[Server, int, str]) -> Iterator[None]:
    """Each test leaves the server without streams."""
    yield
    server, _, _ = small
    wait_until(lambda: server.stats()["connections"] == 0)


def test_streams_leave_a_place_to_ordinary_requests(
    small: tuple[Server, int, str],
) -> None:
    """A further stream is told to come back, and nothing hangs."""
    server, places, setting = small
    with ExitStack() as streams:
        for _ in range(places - 1):
            stream = streams.enter_context(server.stream())
            assert stream.next().type == "connected"
        assert server.get("/process")[0] == 200
        status, body = server.get("/events", Authorization="Bearer alice")
        assert (status, body[:6]) == (200, b"retry:")
        assert server.request("POST", "/answers/waiting")[0] == 503
        assert f"Raise {setting} for more" in server.get("/events/health")[1].decode()


def test_a_stream_takes_a_place_that_has_become_free(
    small: tuple[Server, int, str],
) -> None:
    """A departure is noticed at the next ping at the latest."""
    server, places, _ = small
    for _ in range(2):
        with ExitStack() as streams:
            for _ in range(places - 1):
                stream = streams.enter_context(server.stream())
                assert stream.next().type == "connected"
        wait_until(lambda: server.stats()["connections"] == 0)


def test_answers_take_the_same_places(small: tuple[Server, int, str]) -> None:
    """One ledger counts both, or together they would take all places."""
    server, places, _ = small
    path = "/answers/waiting?heartbeat=0.5"
    answers = [raw_request(server.port, path) for _ in range(places - 1)]
    try:
        for answer in answers:
            assert answer.recv(12) == b"HTTP/1.1 200"
        status, body = server.get("/events", Authorization="Bearer alice")
        assert (status, body[:6]) == (200, b"retry:")
        assert server.get("/process")[0] == 200
    finally:
        server.request("POST", "/answers/release")
        for answer in answers:
            answer.close()
