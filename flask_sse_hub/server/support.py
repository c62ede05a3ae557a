"""The check that the WSGI server can hold a stream open beside other requests.

Knows which servers cannot, why not, and the remedy for each. Does not know streams.
"""

import sys
from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedServer
from ..runtime import greenlets
from ..runtime.coded_log import CodedLog
from ..runtime.per_process import PerProcess
from ..runtime.rare_log import FirstTime
from .surroundings import Surroundings, surroundings

log = CodedLog(__name__)

_ONE_AT_A_TIME = {
    "gunicorn": (
        "gunicorn's sync worker, or gthread with one thread, serves no other"
        " request while a stream is open:"
        " start it with `-k gevent` (pip install 'gunicorn[gevent]'), or with"
        " `-k gthread --threads N` and N above the streams you expect"
    ),
    "werkzeug": (
        "the development server without threads serves no other request while a"
        " stream is open: leave out --without-threads"
    ),
    "wsgiref": (
        "wsgiref's server serves no other request while a stream is open: for"
        " development use `flask run`, or a class of your own from"
        " socketserver.ThreadingMixIn and WSGIServer; in production use"
        " `gunicorn -k gevent` (pip install 'gunicorn[gevent]')"
    ),
    "uwsgi": (
        "uWSGI with one thread serves no other request while a stream is open: start it"
        " with `--gevent N --gevent-monkey-patch`, or with `--threads N`, and N above"
        " the streams you expect"
    ),
    "mod_wsgi": (
        "mod_wsgi with one thread serves no other request while a stream is open: write"
        " `WSGIDaemonProcess NAME threads=N` with N above the streams you expect"
    ),
    "waitress": (
        "waitress with one thread serves no other request while a stream is open: start"
        " it with `threads=N` and N above the streams you expect"
    ),
    "cheroot": (
        "cheroot with one thread serves no other request while a stream is open: start"
        " it with `numthreads=N` and N above the streams you expect"
    ),
}
_SOME_SERVER = (
    "the server {server!r} serves no other request while a stream is open: use a server"
    " with threads or greenlets, such as `gunicorn -k gevent` (pip install"
    " 'gunicorn[gevent]')"
)
_HTTP2 = (
    "gunicorn serves the requests of one HTTP/2 connection one after"
    " another, so an event stream blocks all others on it: use HTTP/2 only"
    " between browsers and the proxy, and HTTP/1.1 behind the proxy"
)
_ASGI = (
    "an ASGI server runs this app through {server!r}, which does not tell the app when"
    " a client has left, so each closed page would keep a thread: run the app under a"
    " WSGI server, such as `gunicorn -k gevent` (pip install 'gunicorn[gevent]')"
)
_TORNADO = (
    "tornado's WSGIContainer keeps each response until it is complete, so no event of a"
    " stream would ever arrive: use a server that sends each part at once, such as"
    " `gunicorn -k gevent` (pip install 'gunicorn[gevent]')"
)
_EVENTLET = (
    "eventlet has patched the standard library, and streams do not work with eventlet,"
    " which is no longer developed: start gunicorn with `-k gevent` (pip install"
    " 'gunicorn[gevent]'), and remove eventlet.monkey_patch()"
)
_UNPATCHED = (
    "gevent serves this app, but the standard library is not patched, so one"
    " waiting stream stops the whole process: {remedy}"
)
_PATCH = "call gevent.monkey.patch_all() before anything else is imported"
_PATCH_UWSGI = "start uWSGI with `--gevent-monkey-patch` beside `--gevent`"

_HARAKIRI = (
    "uWSGI with `--gevent` and `--harakiri` kills the whole worker whenever a stream is"
    " open for longer than harakiri's seconds: leave out `--harakiri`"
)

_HIDES_ITS_PLACES = (
    "the server %r does not tell how many requests it serves at once, so no place is"
    " kept for ordinary requests: let it serve more requests at once than the streams"
    " you expect"
)

_first_time = PerProcess(FirstTime)


def check_server(environ: Mapping[str, Any]) -> None:
    """Raise UnsupportedServer if an open stream would block other requests."""
    obstacle = server_obstacle(environ, surroundings(environ))
    if obstacle is not None:
        raise UnsupportedServer(obstacle)


def server_obstacle(environ: Mapping[str, Any], around: Surroundings) -> str | None:
    """Return why this server can hold no stream open, None if it can."""
    if around.server == "gunicorn" and str(
        environ.get("SERVER_PROTOCOL", "")
    ).startswith("HTTP/2"):
        return _HTTP2
    if _eventlet_has_patched():
        return _EVENTLET
    if around.is_asgi:
        return _ASGI.format(server=around.server)
    if around.server == "tornado":
        return _TORNADO
    if greenlets.in_greenlet() and not greenlets.patched():
        remedy = _PATCH_UWSGI if around.server == "uwsgi" else _PATCH
        return _UNPATCHED.format(remedy=remedy)
    if around.server == "uwsgi" and greenlets.in_greenlet() and _has_harakiri():
        return _HARAKIRI
    if around.server is not None and not around.concurrent:
        known = _ONE_AT_A_TIME.get(around.server)
        return known or _SOME_SERVER.format(server=around.server)
    if around.hides_its_places and _first_time.get()(around.server):
        log.warning("SSE-1101", _HIDES_ITS_PLACES, around.server)
    return None


def _has_harakiri() -> bool:
    """Tell whether uWSGI ends long requests. With threads it spares streams."""
    return "harakiri" in getattr(sys.modules.get("uwsgi"), "opt", {})


def _eventlet_has_patched() -> bool:
    """Tell whether threads are eventlet's: a real thread would then block them all."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))
