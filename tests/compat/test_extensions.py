"""Flask extensions and middlewares beside the hub, under a real gunicorn."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.compat.sites import LIMIT
from tests.compat.table import compat
from tests.kit.reader import StreamReader, wait_until
from tests.kit.redis_server import RedisServer
from tests.live.server import Server, raw_request

pytestmark = pytest.mark.live

SITE = "tests.compat.sites"
FRIEND = "https://friend.example"

Start = Callable[..., Server]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return a function that starts a server with one package beside the hub."""
    started: list[Server] = []

    def start(package: str, /, **settings: Any) -> Server:
        monkeypatch.setenv("COMPAT_WITH", package)
        started.append(Server(site=SITE, **settings).__enter__())
        return started[-1]

    yield start
    for server in started:
        server.__exit__()


def opened(server: Server, cookie: str, **headers: str) -> StreamReader:
    """Open a stream with the cookie of a session."""
    stream = server.stream(user=None, Cookie=cookie, **headers)
    stream.next("connected")
    return stream


def lives(server: Server) -> None:
    """Log in, listen, receive, log out; another session goes on."""
    here, there = server.cookie("alice"), server.cookie("alice")
    with opened(server, here) as mine, opened(server, there) as other:
        server.publish("hello", user="alice")
        assert mine.data(1) == other.data(1) == ["hello"]
        status, _, _ = server.request("POST", "/logout", Cookie=here)
        assert status == 200
        mine.wait_for_end()
        server.publish("still here", user="alice")
        assert other.data(1) == ["still here"]
        assert server.open("/events", query={}) == 401


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "session",
            marks=compat(
                "Flask-Session", "gunicorn gevent", "sessions in files (cachelib)"
            ),
        ),
        pytest.param(
            "beaker",
            marks=compat("Beaker", "gunicorn gevent", "sessions in files, middleware"),
        ),
        pytest.param(
            "talisman",
            marks=compat("flask-talisman", "gunicorn gevent", "the default headers"),
        ),
        pytest.param(
            "cors",
            marks=compat("flask-cors", "gunicorn gevent", "one origin for all views"),
        ),
        pytest.param(
            "compress",
            marks=compat(
                "Flask-Compress", "gunicorn gevent", "told to compress event streams"
            ),
        ),
        pytest.param(
            "caching",
            marks=compat("Flask-Caching", "gunicorn gevent", "cached views"),
        ),
        pytest.param(
            "csrf",
            marks=compat("Flask-WTF", "gunicorn gevent", "CSRFProtect for all views"),
        ),
        pytest.param(
            "debugtoolbar",
            marks=compat("Flask-DebugToolbar", "gunicorn gevent", "the toolbar is on"),
        ),
        pytest.param(
            "proxy_fix",
            marks=compat("Werkzeug", "gunicorn gevent", "ProxyFix"),
        ),
        pytest.param(
            "sentry",
            marks=compat("sentry-sdk", "gunicorn gevent", "every request is traced"),
        ),
        pytest.param(
            "opentelemetry",
            marks=compat(
                "opentelemetry-instrumentation-flask",
                "gunicorn gevent",
                "every request is traced",
            ),
        ),
    ],
)
def test_streams_live_beside(start: Start, name: str) -> None:
    """Logins, events and logouts are as without the package."""
    lives(start(name))


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        pytest.param(
            "newrelic",
            # In developer mode the agent talks to a collector of its own.
            {
                "NEW_RELIC_LICENSE_KEY": "0" * 40,
                "NEW_RELIC_APP_NAME": "compat",
                "NEW_RELIC_DEVELOPER_MODE": "true",
            },
            marks=compat("newrelic", "gunicorn gevent", "every request is traced"),
        ),
        pytest.param(
            "ddtrace",
            # Nobody listens there; the tracer goes on without its agent.
            {
                "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",
                "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
                "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            },
            marks=compat("ddtrace", "gunicorn gevent", "every request is traced"),
        ),
    ],
)
def test_streams_live_in_a_server_that_a_tracer_starts(
    start: Start, monkeypatch: pytest.MonkeyPatch, name: str, environ: dict[str, str]
) -> None:
    """The tracer patches gunicorn, Flask and the standard library before all else."""
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    server = start(name, tracer=name)
    # New Relic's agent traces nothing before it has met its collector.
    wait_until(lambda: server.json("/traced") == {"traced": True})
    lives(server)


@compat("Flask-Session", "gunicorn gevent", "sessions and the log in one Redis")
@compat("redis", "gunicorn gevent", "one Redis for the log and another extension")
def test_sessions_share_the_redis_of_the_log(
    start: Start, redis_server: RedisServer
) -> None:
    """One ``REDIS_URL`` serves the whole app."""
    lives(start("session_in_redis", broker_url=redis_server.url, name="compat"))


@compat("Flask-Limiter", "gunicorn gevent", "default limits for all views")
def test_default_limits_leave_streams_and_health_alone(start: Start) -> None:
    """A native EventSource never reconnects after a 429."""
    server = start("limiter", stats_access=None)
    cookie = server.cookie("alice")
    for _ in range(2 * LIMIT):
        opened(server, cookie).close()
        assert server.get("/events/health")[0] == 200
        assert server.get("/events/sse-hub.js")[0] == 200
    limited = [server.get("/caller")[0] for _ in range(LIMIT + 1)]
    assert limited == [200] * LIMIT + [429]


@compat("flask-cors", "gunicorn gevent", "SSE_HUB_CORS_ORIGINS for the same origin")
def test_an_origin_of_both_is_told_once(start: Start) -> None:
    """Browsers refuse a header that comes twice."""
    server = start("cors", cors_origins=[FRIEND])
    cookie = server.cookie("alice")
    with opened(server, cookie, Origin=FRIEND) as stream:
        headers = stream._chunks.response.headers  # type: ignore[attr-defined]
        assert headers.get_all("Access-Control-Allow-Origin") == [FRIEND]
        assert headers.get_all("Access-Control-Allow-Credentials") == ["true"]
    # Flask-CORS alone opens no stream: the cookies of another site's visitors count.
    assert server.open("/events", query={}, Cookie=cookie, Origin="https://x") == 403


@compat("Flask-WTF", "gunicorn gevent", "CSRFProtect and the endpoint for publishing")
def test_publishing_needs_no_csrf_token(start: Start) -> None:
    """The bearer token is no cookie, so nobody else's page can send it."""
    server = start("csrf", publish_tokens=["a-token-for-everything"])
    with server.stream() as stream:
        stream.next("connected")
        status, _, _ = server.request(
            "POST",
            "/events/publish",
            body={"data": "hello", "target": {"user": "alice"}},
            Authorization="Bearer a-token-for-everything",
        )
        assert status == 202
        assert stream.data(1) == ["hello"]
        assert server.request("POST", "/disconnect/alice")[0] == 400


@compat("Flask-Compress", "gunicorn gevent", "a client that accepts gzip")
def test_a_stream_is_compressed_once(start: Start) -> None:
    """The hub has compressed it already, so the extension leaves it alone."""
    server = start("compress")
    with server.stream(Accept_Encoding="gzip") as stream:
        stream.next("connected")
        server.publish("x" * 10_000, user="alice")
        assert stream.data(1) == ["x" * 10_000]


@compat(
    "Werkzeug",
    "gunicorn gevent",
    "ProfilerMiddleware",
    result="no event arrives, and the log warns",
)
def test_a_profiler_of_whole_responses_causes_a_warning(start: Start) -> None:
    """It waits for the end of each response, and a stream has none."""
    server = start("profiler")
    with raw_request(server.port):
        warning = "a middleware has its own start_response"
        wait_until(lambda: warning in server.log)


@compat("APScheduler", "gunicorn gevent", "a job in a thread of the server")
def test_a_scheduled_job_publishes(start: Start) -> None:
    """The job has no app context, and the hub finds its app all the same."""
    server = start("apscheduler")
    with server.stream() as stream:
        stream.next("connected")
        assert server.request("POST", "/schedule")[0] == 200
        assert stream.data(1) == ["from a job"]
