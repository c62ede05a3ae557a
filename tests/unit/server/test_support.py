"""Support: which servers can hold streams, and the remedy where one cannot."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from flask_sse_hub import UnsupportedServer
from flask_sse_hub.server.support import check_server, server_obstacle
from flask_sse_hub.server.surroundings import Places, Surroundings

#: A server that can hold streams.
GOOD = Surroundings("gunicorn", True, Places(8, "threads"))


@pytest.mark.parametrize(
    ("server", "remedy"),
    [
        ("gunicorn", "-k gevent"),
        ("gunicorn", "-k gthread --threads N"),
        ("werkzeug", "leave out --without-threads"),
        ("wsgiref", "use `flask run`"),
        ("uwsgi", "--threads N"),
        ("mod_wsgi", "WSGIDaemonProcess NAME threads=N"),
        ("waitress", "threads=N"),
        ("cheroot", "numthreads=N"),
        ("bjoern", "the server 'bjoern' serves no other request"),
    ],
)
def test_a_server_that_serves_one_request_at_a_time_is_refused(
    server: str, remedy: str
) -> None:
    """The first stream would be all that it serves. The text has the remedy."""
    assert remedy in (server_obstacle({}, Surroundings(server, False)) or "")


def test_an_adapter_for_asgi_is_refused() -> None:
    """It does not tell that a client has left, and its threads run out."""
    for server in ("a2wsgi", "asgiref", "hypercorn", "starlette", "uvicorn"):
        found = server_obstacle({}, Surroundings(server, True))
        assert "under a WSGI server" in (found or "")


@pytest.mark.parametrize("threads", [True, False])
def test_tornado_is_refused_with_and_without_threads(threads: bool) -> None:
    """It would wait for the end of a stream before it sends the first byte."""
    found = server_obstacle({}, Surroundings("tornado", threads))
    assert "a server that sends each part at once" in (found or "")


def test_http2_inside_gunicorn_is_refused() -> None:
    """An open stream blocks all other requests of its connection."""
    found = server_obstacle({"SERVER_PROTOCOL": "HTTP/2.0"}, GOOD)
    assert "HTTP/1.1 behind the proxy" in (found or "")


@pytest.mark.parametrize(
    ("server", "remedy"),
    [("gevent", "patch_all()"), ("uwsgi", "--gevent-monkey-patch")],
)
def test_gevent_without_patching_is_refused(
    server: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One waiting stream would stop the whole process."""
    monkeypatch.setattr("flask_sse_hub.runtime.greenlets.in_greenlet", lambda: True)
    monkeypatch.setattr("flask_sse_hub.runtime.greenlets.patched", lambda: False)
    assert remedy in (server_obstacle({}, Surroundings(server, True)) or "")


@pytest.mark.parametrize("patched", [True, False])
def test_eventlet_is_refused_only_where_it_has_patched(
    patched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real thread of the hub would block all of its greenlets."""
    patcher = SimpleNamespace(is_monkey_patched=lambda _: patched)
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    found = server_obstacle({}, GOOD)
    assert ("eventlet" in (found or "")) == patched


@pytest.mark.parametrize(
    "around",
    [
        GOOD,
        Surroundings(None, False),
        Surroundings("werkzeug", True),
        Surroundings("waitress", True, Places(4, "threads")),
    ],
    ids=["gunicorn", "test client", "development server", "waitress"],
)
def test_other_servers_are_accepted(around: Surroundings) -> None:
    """Servers with threads or greenlets and the test client can hold streams."""
    assert server_obstacle({}, around) is None


def test_a_server_that_hides_its_places_is_a_warning_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No place can be kept for ordinary requests, so the operator must know."""
    around = Surroundings("a server of its own", True)
    for _ in range(3):
        assert server_obstacle({}, around) is None
    assert caplog.text.count("does not tell how many requests") == 1


def test_the_check_raises_the_text() -> None:
    """Streams and answers are refused by the same error."""
    environ: dict[str, Any] = {"uwsgi.version": b"2.0", "wsgi.multithread": False}
    with pytest.raises(UnsupportedServer, match="uWSGI with one thread"):
        check_server(environ)
    check_server({"wsgi.multithread": False})
