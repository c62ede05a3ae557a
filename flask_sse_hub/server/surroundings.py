"""The surroundings: the WSGI server that runs this process, and its limits.

Recognises a server by the WSGI environment, by its own module, or by its frames and its
callback on the stack. The answers are cached for each server, since a process has only
one. Does not know streams.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

from ..runtime import greenlets
from ..runtime.per_process import PerProcess
from . import apache
from .accept_balance import accepting_server
from .worker import ServerWorker, serving_worker

#: One place in this many is kept for ordinary requests, and at least one.
KEPT = 20

# The modules of servers that name themselves nowhere in the environment: adapters for
# ASGI servers, bjoern with its single thread, and tornado, which collects responses.
_ASGI = frozenset({"a2wsgi", "asgiref", "hypercorn", "starlette", "uvicorn"})
_SILENT = _ASGI | {"bjoern", "tornado"}

# The prefix of the names of a server's threads, and the setting for their number.
_THREADS = {
    "waitress": ("waitress-", "threads"),
    "cheroot": ("CP Server Thread-", "numthreads"),
}

# These serve each request in a thread or greenlet of its own, without a limit.
_UNLIMITED = ("gevent", "werkzeug", "wsgiref")

# These tell the truth by wsgi.multithread, also where gevent has patched their thread.
# Others say in greenlets that they have one thread.
_TRUTHFUL = ("werkzeug", "wsgiref")

# A process has one server. Tests have several, and a middleware may rename one.
_MOST_KNOWN = 16


class Places(NamedTuple):
    """The number of requests that a server serves at once, and its setting for it."""

    at_once: int
    setting: str

    @property
    def for_streams(self) -> int:
        """How many of the places streams may take."""
        return max(1, self.at_once - max(1, self.at_once // KEPT))

    def full(self, taken: int) -> str | None:
        """Return why there is no place for another stream, None if there is one."""
        if taken < self.for_streams:
            return None
        return (
            f"streams have taken {self.for_streams} of the {self.at_once} requests that"
            f" this worker serves at once ({self.setting}); the rest is kept for"
            f" ordinary requests. Raise {self.setting} for more streams"
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The server that made a request.

    ``server`` is its name in small letters, None without a server: for a test client,
    for example. ``places`` is None if their number is unknown or has no limit.
    """

    server: str | None
    #: Whether the server works on several requests at once, by threads or greenlets.
    concurrent: bool
    places: Places | None = None
    worker: ServerWorker | None = None

    @property
    def is_asgi(self) -> bool:
        """Whether an adapter runs the app within an ASGI server."""
        return self.server in _ASGI

    @property
    def is_gevent_worker(self) -> bool:
        """Whether gunicorn's gevent worker serves, whose sockets can be taken over."""
        return self.worker is not None and greenlets.patched()

    @property
    def hides_its_places(self) -> bool:
        """Whether the number of places has a limit that nobody can tell."""
        return (
            self.server is not None
            and self.concurrent
            and self.places is None
            and self.server not in _UNLIMITED
        )


def look_around(
    environ: Mapping[str, Any],
    *,
    find_worker: Callable[[], ServerWorker | None] = serving_worker,
) -> Surroundings:
    """Find out which server made a request. Takes some microseconds."""
    server, threaded = _server(environ)
    greenlet = greenlets.in_greenlet()
    worker = find_worker() if server == "gunicorn" else None
    places = _places(server, worker, environ)
    concurrent = threaded or bool(environ.get("wsgi.multithread"))
    if greenlet and server not in _TRUTHFUL:
        concurrent = True
    if places is not None and places.at_once == 1 and not greenlet:
        concurrent = False
    return Surroundings(server, concurrent, places, worker)


def _server(environ: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Return the server's name, and whether its stack shows a thread per request."""
    for key, name in (
        ("gunicorn.socket", "gunicorn"),
        ("werkzeug.socket", "werkzeug"),
        ("uwsgi.version", "uwsgi"),
        ("mod_wsgi.version", "mod_wsgi"),
    ):
        if key in environ:
            return name, False
    software = str(environ.get("SERVER_SOFTWARE") or "")
    if software.startswith("WSGIServer/"):
        # wsgiref says that it has one thread, also with socketserver's ThreadingMixIn.
        return "wsgiref", "process_request_thread" in _functions_of("socketserver")
    name = software.partition("/")[0].strip().lower()
    return name or _server_on_the_stack(), False


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        yield frame
        frame = frame.f_back


def _functions_of(module: str) -> set[str]:
    """Return the names of a module's functions that are running."""
    return {
        frame.f_code.co_name
        for frame in _frames()
        if frame.f_globals.get("__name__") == module
    }


def _server_on_the_stack() -> str | None:
    """Return the nearest known caller, None for a test client or an unknown caller."""
    for frame in _frames():
        for module in _modules_of(frame):
            if module == "werkzeug.test":
                # A test client, which a view of a served app may use too.
                return None
            name = module.partition(".")[0]
            if name in _SILENT:
                return name
    return None


def _modules_of(frame: FrameType) -> Iterator[str]:
    """Return the module of a frame, and that of its ``start_response``, if it has one.

    The stack of a thread from a pool has no frame of the server. But the server's
    ``start_response`` is passed from caller to caller.
    """
    yield str(frame.f_globals.get("__name__", ""))
    if "start_response" in frame.f_code.co_varnames:
        start = frame.f_locals.get("start_response")
        yield str(getattr(start, "__module__", ""))


def _places(
    server: str | None, worker: ServerWorker | None, environ: Mapping[str, Any]
) -> Places | None:
    if worker is not None:
        found = worker.places()
        return None if found is None else Places(*found)
    if server == "uwsgi":
        module = sys.modules.get("uwsgi")
        setting = "gevent" if greenlets.in_greenlet() else "threads"
        return _counted(getattr(module, "cores", None), setting)
    if server == "mod_wsgi":
        return _places_of_mod_wsgi()
    if server == "gevent":
        # Without the argument spawn=N the server's pool has no size.
        pool = getattr(accepting_server(), "pool", None)
        return _counted(getattr(pool, "size", None), "spawn")
    if server in _THREADS:
        prefix, setting = _THREADS[server]
        names = [thread.name for thread in threading.enumerate()]
        count = sum(name.startswith(prefix) for name in names)
        most = _most_connections(environ) or count
        if most < count:
            return Places(most, "connection_limit")
        return _counted(count, setting)
    return None


def _places_of_mod_wsgi() -> Places | None:
    # mod_wsgi makes the module in each interpreter. Nothing has imported it yet.
    try:
        import mod_wsgi  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    threads = _counted(getattr(mod_wsgi, "threads_per_process", None), "threads")
    # Each request takes a worker of Apache too, and all processes share these workers.
    workers = apache.request_workers()
    if threads is None or workers is None:
        return threads
    share = max(1, workers // (getattr(mod_wsgi, "maximum_processes", None) or 1))
    return threads if threads.at_once <= share else Places(share, "MaxRequestWorkers")


def _most_connections(environ: Mapping[str, Any]) -> int | None:
    """Return the most connections that waitress accepts, None for other servers.

    Its limit is 100 by default, also where it has more threads. Its listening sockets
    and the pipe that wakes its loop count too.
    """
    channel = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
    settings = getattr(getattr(channel, "server", None), "adj", None)
    limit = getattr(settings, "connection_limit", None)
    if not isinstance(limit, int):
        return None
    return max(1, limit - len(getattr(settings, "listen", ())) - 1)


def _counted(count: object, setting: str) -> Places | None:
    return Places(count, setting) if isinstance(count, int) and count > 0 else None


class KnownSurroundings:
    """The surroundings that this process has found, so that it looks only once."""

    def __init__(
        self, look: Callable[[Mapping[str, Any]], Surroundings] = look_around
    ) -> None:
        self._look = look
        self._known: dict[tuple[object, object], Surroundings] = {}
        #: The surroundings of the last request whose server was new.
        self.latest: Surroundings | None = None

    def of(self, environ: Mapping[str, Any]) -> Surroundings:
        """Return the surroundings of a request."""
        name = environ.get("SERVER_SOFTWARE") or environ.get("uwsgi.version")
        key = (name, environ.get("wsgi.multithread"))
        found = self._known.get(key)
        if found is None:
            found = self._look(environ)
            # A test client must not hide the server that serves the same process later.
            if name and found.server is not None:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[key] = found
            if found.server is not None:
                self.latest = found
        return found


_known = PerProcess(KnownSurroundings)


def surroundings(environ: Mapping[str, Any]) -> Surroundings:
    """Return the surroundings of a request, which are found once in a process."""
    return _known.get().of(environ)


def server_places() -> Places | None:
    """Return the places of this process's server, None if they are unknown."""
    latest = _known.get().latest
    return None if latest is None else latest.places
