"""Servers that cannot hold streams refuse them, and the log names a remedy."""

import json
import socket

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived

from tests.compat.table import compat
from tests.kit.ports import HOST
from tests.live.server import Server

pytestmark = pytest.mark.live


#: Servers that cannot hold a stream: kind, arguments, and the remedy.
REFUSED = {
    "gunicorn sync": ("gunicorn-sync", "", "start it with `-k gevent`"),
    "gunicorn gthread": ("gunicorn-sync", "-k gthread", "`-k gthread --threads N`"),
    "gunicorn eventlet": (
        "gunicorn-eventlet",
        "--threads 8",
        "start gunicorn with `-k gevent`",
    ),
    "flask run": ("flask-run", "--without-threads", "leave out --without-threads"),
    "gevent unpatched": ("pywsgi-unpatched", "", "call gevent.monkey.patch_all()"),
    "uWSGI": ("uwsgi", "", "`--gevent N --gevent-monkey-patch`"),
    "uWSGI gevent": (
        "uwsgi",
        "--gevent 10",
        "start uWSGI with `--gevent-monkey-patch`",
    ),
    "uWSGI harakiri": (
        "uwsgi",
        "--gevent 10 --gevent-monkey-patch --harakiri 30",
        "leave out `--harakiri`",
    ),
    "mod_wsgi": ("mod_wsgi", "threads=1", "`WSGIDaemonProcess NAME threads=N`"),
    "wsgiref": ("wsgiref", "", "for development use `flask run`"),
    "waitress": ("waitress", "--threads=1", "start it with `threads=N`"),
    "cheroot": ("cheroot", "--threads 1", "start it with `numthreads=N`"),
    "bjoern": ("bjoern", "", "use a server with threads or greenlets"),
    "tornado": ("tornado", "", "a server that sends each part at once"),
    "uvicorn": ("uvicorn", "", "run the app under a WSGI server"),
    "hypercorn": ("hypercorn", "", "run the app under a WSGI server"),
}


#: The rows of docs/compatibility.md.
ROWS = {
    "gunicorn sync": compat(
        "gunicorn", "gunicorn sync", "streams", result="refused, with the remedy"
    ),
    "gunicorn gthread": compat(
        "gunicorn",
        "gunicorn gthread, one thread",
        "streams",
        result="refused, with the remedy",
    ),
    "gunicorn eventlet": compat(
        "eventlet",
        "gunicorn 23, eventlet",
        "streams",
        result="refused, with the remedy",
    ),
    "flask run": compat(
        "Werkzeug",
        "flask run --without-threads",
        "streams",
        result="refused, with the remedy",
    ),
    "gevent unpatched": compat(
        "gevent",
        "gevent.pywsgi, not patched",
        "streams",
        result="refused, with the remedy",
    ),
    "uWSGI": compat(
        "pyuwsgi", "uWSGI, one thread", "streams", result="refused, with the remedy"
    ),
    "uWSGI gevent": compat(
        "pyuwsgi",
        "uWSGI with gevent, not patched",
        "streams",
        result="refused, with the remedy",
    ),
    "uWSGI harakiri": compat(
        "pyuwsgi",
        "uWSGI with gevent and harakiri",
        "streams",
        result="refused, with the remedy",
    ),
    "mod_wsgi": compat(
        "apache2",
        "Apache, mod_wsgi, one thread",
        "streams",
        result="refused, with the remedy",
    ),
    "wsgiref": compat(
        "Python", "wsgiref", "streams", result="refused, with the remedy"
    ),
    "waitress": compat(
        "waitress", "waitress, one thread", "streams", result="refused, with the remedy"
    ),
    "cheroot": compat(
        "cheroot", "cheroot, one thread", "streams", result="refused, with the remedy"
    ),
    "bjoern": compat("bjoern", "bjoern", "streams", result="refused, with the remedy"),
    "tornado": compat(
        "tornado", "WSGIContainer", "streams", result="refused, with the remedy"
    ),
    "uvicorn": compat(
        "uvicorn", "uvicorn", "streams", result="refused, with the remedy"
    ),
    "hypercorn": compat(
        "hypercorn", "hypercorn", "streams", result="refused, with the remedy"
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=ROWS[name]) for name in REFUSED]
)
def test_a_server_that_cannot_hold_streams_refuses_them(name: str) -> None:
    """Nothing hangs, and the remedy is told in each place, by one text.

    The log has it once for all ordinary requests, and once for each stream and answer.
    """
    kind, args, remedy = REFUSED[name]
    with Server(kind, args=args) as server:
        assert server.get("/process")[0] == 200
        assert server.log.count(remedy) == 1
        status, body = server.get("/events/health")
        assert status == 503
        reason = json.loads(body)["reason"]
        assert remedy in reason
        assert server.log.count(reason) == 1
        assert server.get("/events", Authorization="Bearer alice")[0] == 500
        assert server.request("POST", "/answers/waiting")[0] == 500
        assert server.log.count(reason) == 3
        checked = server.flask("sse", "check", f"http://{HOST}:{server.port}")
        assert (checked.returncode, checked.stdout) == (1, f"{reason}\n")


@pytest.mark.parametrize(
    ("site", "text"),
    [
        ("without_login", "SSE_HUB_LOGIN_REQUIRED needs Flask-Login"),
        ("without_key", "signed with the app's SECRET_KEY, and none is set"),
    ],
)
def test_a_fault_of_the_app_is_told_before_its_first_stream(
    site: str, text: str
) -> None:
    """The first request of any kind logs it, and health and the command tell it."""
    with Server(site=f"tests.live.{site}") as server:
        assert server.get("/missing")[0] == 404
        assert server.log.count(text) == 1
        status, body = server.get("/events/health")
        assert status == 503
        reason = json.loads(body)["reason"]
        assert text in reason
        for address in ([], [f"http://{HOST}:{server.port}"]):
            checked = server.flask("sse", "check", *address)
            assert (checked.returncode, checked.stdout) == (1, f"{reason}\n")


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
