"""The check that the WSGI server can hold a stream open beside other requests.

Recognises gunicorn's worker classes, gevent's server and Werkzeug's by the WSGI
environment. Does not know streams.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UnsupportedServer
from ..runtime import greenlets
from .worker import ServerWorker, serving_worker


def check_server(
    environ: Mapping[str, Any],
    *,
    find_worker: Callable[[], ServerWorker | None] = serving_worker,
) -> None:
    """Raise UnsupportedServer if an open stream would block other requests."""
    multithread = environ.get("wsgi.multithread")
    if "gunicorn.socket" in environ:
        if not multithread or _has_one_thread(find_worker):
            raise UnsupportedServer(
                "gunicorn's sync worker, or gthread with one thread, serves no other"
                " request while a stream is open:"
                " start it with `-k gevent` (pip install 'gunicorn[gevent]'), or with"
                " `-k gthread --threads N` and N above the streams you expect"
            )
        if str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/2"):
            raise UnsupportedServer(
                "gunicorn serves the requests of one HTTP/2 connection one after"
                " another, so an event stream blocks all others on it: use HTTP/2 only"
                " between browsers and the proxy, and HTTP/1.1 behind the proxy"
            )
    elif "werkzeug.socket" in environ and not multithread:
        raise UnsupportedServer(
            "the development server without threads serves no other request while a"
            " stream is open: leave out --without-threads"
        )
    if greenlets.in_greenlet() and not greenlets.patched():
        raise UnsupportedServer(
            "gevent serves this app, but the standard library is not patched, so one"
            " waiting stream stops the whole process: call"
            " gevent.monkey.patch_all() before anything else is imported"
        )


def _has_one_thread(find_worker: Callable[[], ServerWorker | None]) -> bool:
    """Tell whether gunicorn's gthread worker serves one request at a time."""
    if greenlets.patched():
        return False
    worker = find_worker()
    return worker is not None and worker.threads == 1
