"""Streams over real servers: each promise under each server."""

from collections.abc import Iterator

import pytest

from tests.compat.table import compat
from tests.kit.hand import fields
from tests.kit.reader import wait_until
from tests.live.server import OTHERS, SERVERS, Server, raw_request

pytestmark = pytest.mark.live


#: The rows of docs/compatibility.md that the tests of each server show together.
ROWS = {
    "gunicorn-gevent": compat("gunicorn", "gunicorn gevent", "streams by socket"),
    "gunicorn-gevent-generator": compat(
        "gunicorn", "gunicorn gevent", "streams by generator"
    ),
    "gunicorn-gthread": compat("gunicorn", "gunicorn gthread", "streams by generator"),
    "pywsgi": compat("gevent", "gevent.pywsgi", "streams by generator"),
    "flask-run": compat("Werkzeug", "flask run", "streams by generator"),
    "waitress": compat("waitress", "waitress", "streams by generator"),
    "cheroot": compat("cheroot", "cheroot", "streams by generator"),
    "uwsgi-threads": compat("pyuwsgi", "uWSGI with threads", "streams by generator"),
    "uwsgi-gevent": compat("pyuwsgi", "uWSGI with gevent", "streams by generator"),
    "mod_wsgi": compat("apache2", "Apache, mod_wsgi", "streams by generator"),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=ROWS[kind]) for kind in [*SERVERS, *OTHERS]],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind, args = OTHERS.get(request.param, (request.param, ""))
    with Server(kind, args=args, heartbeat_interval=0.5) as server:
        yield server


@pytest.fixture(autouse=True)
def nobody_is_left(server: Server) -> Iterator[None]:
    """Each test leaves the server without streams."""
    yield
    wait_until(lambda: server.stats()["connections"] == 0)


def test_headers_and_greeting_leave_at_once(server: Server) -> None:
    """They precede any event; otherwise onopen would wait for the first one."""
    with server.stream() as stream:
        connected = stream.next()
        assert connected.type == "connected"
        assert fields(connected)["user_id"] == "alice"


def test_a_is_not_told_what_is_for_b(server: Server) -> None:
    """Targeted delivery reaches exactly the streams of that user."""
    with server.stream() as ann, server.stream(user="bob") as ben:
        ann.next("connected")
        ben.next("connected")
        server.publish("for bob", user="bob")
        server.publish("for alice", user="alice")
        server.publish("for both")
        assert ann.data(2) == ["for alice", "for both"]
        assert ben.data(2) == ["for bob", "for both"]


def test_a_dropped_connection_resumes_in_order(server: Server) -> None:
    """No event is lost, and none comes twice."""
    with server.stream() as first:
        first.next("connected")
        server.publish("one")
        assert first.data(1) == ["one"]
        last = first.last_event_id
    for number in ("two", "three", "four"):
        server.publish(number)
    with server.stream(Last_Event_ID=last) as again:
        assert fields(again.next())["resumed"] is True
        assert again.data(3) == ["two", "three", "four"]
        server.publish("five")
        assert again.data(1) == ["five"]


@pytest.mark.parametrize(
    ("last", "reason"), [("rubbish", "malformed"), ("0123456789ab-7", "epoch")]
)
def test_an_id_that_history_does_not_reach_is_answered_by_reset(
    server: Server, last: str, reason: str
) -> None:
    """A browser would come back with the same id for ever after an error."""
    with server.stream(Last_Event_ID=last) as stream:
        assert fields(stream.next())["resumed"] is False
        assert fields(stream.next()) == {"reason": reason}


def test_a_quiet_stream_is_pinged(server: Server) -> None:
    """Pings show scripts and proxies that the stream is alive."""
    with server.stream() as stream:
        stream.next("connected")
        assert stream.next().type == "ping"
        assert stream.next().type == "ping"


def test_refusals_for_good_are_statuses(server: Server) -> None:
    """401 without a login, 403 for a channel that is closed, 400 for a bad name."""
    alice = {"Authorization": "Bearer alice"}
    assert server.get("/events")[0] == 401
    assert server.get("/events?channel=secret", **alice)[0] == 403
    assert server.get("/events?channel=", **alice)[0] == 400
    assert server.get("/events?client_id=forged", **alice)[0] == 400


def test_a_head_request_opens_nothing(server: Server) -> None:
    """The request is answered, and the connection is free again."""
    before = server.stats()["opened"]
    status, body, headers = server.request(
        "HEAD", "/events", Authorization="Bearer alice"
    )
    assert (status, body) == (200, b"")
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert server.stats()["opened"] == before


def test_a_client_that_leaves_before_the_first_byte_leaves_nothing(
    server: Server,
) -> None:
    """The server may be about to write to any number of them."""
    for _ in range(20):
        raw_request(server.port).close()
    wait_until(lambda: server.stats()["connections"] == 0)
    assert server.get("/events/health")[0] == 200


def test_a_logout_ends_the_streams_of_that_session(server: Server) -> None:
    """A browser that comes back is answered 401."""
    cookie = server.cookie("alice")
    with (
        server.stream(user=None, Cookie=cookie) as mine,
        server.stream(user=None, Cookie=server.cookie("alice")) as elsewhere,
    ):
        mine.next("connected")
        elsewhere.next("connected")
        _, _, headers = server.request("POST", "/logout", Cookie=cookie)
        mine.wait_for_end()
        after = headers["Set-Cookie"].split(";")[0]
        assert server.get("/events", Cookie=after)[0] == 401
        server.publish("still here")
        assert elsewhere.data(1) == ["still here"]


def test_no_database_connection_is_held_while_streams_are_open(
    server: Server,
) -> None:
    """Views and user loader have made queries, but streams keep no connection."""
    streams = [server.stream("/querying/sse") for _ in range(10)]
    for stream in streams:
        stream.next("connected")
    assert server.json("/process")["connections"] == 0
    server.publish("x")
    for stream in streams:
        assert stream.data(1) == ["x"]
        stream.close()
    assert server.json("/process")["connections"] == 0


def test_a_burst_arrives_whole_and_in_order(server: Server) -> None:
    """Waiting events leave together, and none is lost in between."""
    with server.stream() as stream:
        stream.next("connected")
        server.request("POST", "/publish/500")
        assert stream.data(500) == [str(n) for n in range(500)]


def test_disconnect_ends_a_users_streams(server: Server) -> None:
    """Streams of other users go on."""
    with server.stream() as ann, server.stream(user="bob") as ben:
        ann.next("connected")
        ben.next("connected")
        server.request("POST", "/disconnect/alice")
        ann.wait_for_end()
        server.publish("x")
        assert ben.data(1) == ["x"]
