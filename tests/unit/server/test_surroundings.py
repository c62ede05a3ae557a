"""Surroundings: the server around this process, and the requests it serves at once."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from types import MethodType, ModuleType, SimpleNamespace
from typing import Any
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from flask import Flask
from werkzeug.test import Client

from flask_sse_hub.server.surroundings import (
    KnownSurroundings,
    Places,
    Surroundings,
    look_around,
)
from flask_sse_hub.server.worker import ServerWorker


def worker(**settings: int) -> Callable[[], ServerWorker]:
    return lambda: ServerWorker(SimpleNamespace(cfg=SimpleNamespace(**settings)))


@contextmanager
def threads_named(*names: str) -> Iterator[None]:
    """Run threads with these names during the block."""
    over = threading.Event()
    threads = [threading.Thread(target=over.wait, name=name) for name in names]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_gunicorn_tells_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gthread has its threads, and the gevent worker has its connections."""
    environ = {"gunicorn.socket": 1, "wsgi.multithread": True}
    find = worker(threads=8, worker_connections=1000)
    monkeypatch.setattr("flask_sse_hub.runtime.greenlets.patched", lambda: False)
    assert look_around(environ, find_worker=find).places == (8, "threads")
    monkeypatch.setattr("flask_sse_hub.runtime.greenlets.patched", lambda: True)
    found = look_around(environ, find_worker=find)
    assert found.places == (1000, "worker_connections")
    assert found.concurrent


@pytest.mark.parametrize(
    ("software", "names", "places"),
    [
        ("waitress", ["waitress-0", "waitress-1"], (2, "threads")),
        ("Cheroot/11.1 Server", ["CP Server Thread-1"], (1, "numthreads")),
        ("waitress", [], None),
    ],
)
def test_a_thread_pool_is_counted_by_the_names_of_its_threads(
    software: str, names: list[str], places: tuple[int, str] | None
) -> None:
    """Both servers start all their threads before the first request."""
    environ = {"SERVER_SOFTWARE": software, "wsgi.multithread": True}
    with threads_named(*names):
        found = look_around(environ)
    assert found.places == places
    assert found.concurrent == (places is None or places[0] > 1)


def test_waitress_accepts_no_more_connections_than_its_limit() -> None:
    """The limit is 100 by default, and threads beyond it never have a request."""
    channel = SimpleNamespace(
        server=SimpleNamespace(adj=SimpleNamespace(connection_limit=4, listen=["one"]))
    )
    environ = {
        "SERVER_SOFTWARE": "waitress",
        "waitress.client_disconnected": MethodType(lambda _: False, channel),
    }
    with threads_named("waitress-0", "waitress-1", "waitress-2"):
        assert look_around(environ).places == (2, "connection_limit")


@pytest.mark.parametrize(
    ("key", "module", "attributes", "places"),
    [
        ("uwsgi.version", "uwsgi", {"cores": 4}, (4, "threads")),
        ("uwsgi.version", "uwsgi", {}, None),
        ("mod_wsgi.version", "mod_wsgi", {"threads_per_process": 15}, (15, "threads")),
    ],
)
def test_a_server_in_c_is_asked_through_its_module(
    key: str,
    module: str,
    attributes: dict[str, int],
    places: tuple[int, str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The module exists only inside that server."""
    made = ModuleType(module)
    vars(made).update(attributes)
    monkeypatch.setitem(sys.modules, module, made)
    found = look_around({key: "1", "wsgi.multithread": True})
    assert found.places == places
    assert found.hides_its_places == (places is None)


@pytest.mark.parametrize(
    ("workers", "processes", "places"),
    [
        (None, 1, (15, "threads")),
        (150, 10, (15, "threads")),
        (150, 15, (10, "MaxRequestWorkers")),
        (10, 15, (1, "MaxRequestWorkers")),
    ],
)
def test_processes_share_the_workers_of_apache(
    workers: int | None,
    processes: int,
    places: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each stream takes a thread of mod_wsgi, and a worker of Apache itself."""
    made = ModuleType("mod_wsgi")
    vars(made).update(threads_per_process=15, maximum_processes=processes)
    monkeypatch.setitem(sys.modules, "mod_wsgi", made)
    monkeypatch.setattr("flask_sse_hub.server.apache.request_workers", lambda: workers)
    found = look_around({"mod_wsgi.version": "5", "wsgi.multithread": True})
    assert found.places == places


def test_an_old_mod_wsgi_without_a_module_hides_its_places() -> None:
    """Its threads cannot be counted, so the operator is warned."""
    found = look_around({"mod_wsgi.version": (3, 4), "wsgi.multithread": True})
    assert found.hides_its_places


def test_a_test_client_is_no_server() -> None:
    """Nobody has to configure threads for tests."""
    app = Flask("tested")
    found: list[Surroundings] = []

    @app.get("/")
    def look() -> str:
        from flask import request

        found.append(look_around(request.environ))
        return ""

    app.test_client().get("/")
    Client(app).get("/")
    assert [each.server for each in found] == [None, None]
    assert not found[0].hides_its_places


class Threaded(ThreadingMixIn, WSGIServer):
    """The usual way to give wsgiref's server a thread for each request."""


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Write nothing to standard error."""


@pytest.mark.parametrize(
    ("kind", "concurrent"), [(WSGIServer, False), (Threaded, True)]
)
def test_wsgiref_is_known_with_and_without_threads(
    kind: type[WSGIServer], concurrent: bool
) -> None:
    """It says in either case that it has one thread."""
    found: list[Surroundings] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        found.append(look_around(environ))
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    with make_server("127.0.0.1", 0, app, kind, Quiet) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        urlopen(f"http://127.0.0.1:{server.server_port}/").close()
        serving.join()
    assert found == [Surroundings("wsgiref", concurrent)]


def test_an_adapter_is_recognised_by_its_frame() -> None:
    """Hypercorn and asgiref name themselves nowhere in the environment."""
    space: dict[str, Any] = {"__name__": "hypercorn.app_wrappers"}
    exec("def run_app(look, environ): return look(environ)", space)  # noqa: S102
    found = space["run_app"](look_around, {"wsgi.multithread": True})
    assert found.server == "hypercorn"
    assert found.is_asgi


def test_a_server_with_a_pool_of_threads_is_recognised_by_its_callback() -> None:
    """The stack of a thread of tornado's executor has no frame of tornado."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return look_around(environ)

    space: dict[str, Any] = {"__name__": "tornado.wsgi"}
    exec("def start(status, headers): pass", space)  # noqa: S102
    found = app({"wsgi.multithread": True}, space["start"])
    assert (found.server, found.concurrent) == ("tornado", True)


def test_a_process_looks_once_for_each_server() -> None:
    """Connecting must not pay for it each time."""
    looked: list[Any] = []

    def look(environ: Any) -> Surroundings:
        looked.append(environ)
        return Surroundings("waitress", True, Places(4, "threads"))

    known = KnownSurroundings(look)
    environ = {"SERVER_SOFTWARE": "waitress", "wsgi.multithread": True}
    first = known.of(environ)
    assert known.of(dict(environ)) is first
    assert known.latest is first
    assert len(looked) == 1


def test_a_test_client_hides_no_server_that_comes_later() -> None:
    """An app may warm itself up before it is served."""
    results = iter([Surroundings(None, False), Surroundings("waitress", True)])
    known = KnownSurroundings(lambda _: next(results))
    assert known.of({"wsgi.multithread": True}).server is None
    assert known.latest is None
    assert known.of({"wsgi.multithread": True}).server == "waitress"


def test_the_number_of_remembered_servers_is_bounded() -> None:
    """A middleware may change the server's name in each request."""
    known = KnownSurroundings(lambda _: Surroundings("other", True))
    for number in range(100):
        known.of({"SERVER_SOFTWARE": str(number)})
    assert len(known._known) <= 16
