"""The connection behind a request, and the event id from which its client resumes.

Knows the keys that gunicorn, gevent and Werkzeug put into the WSGI environment.
"""

import socket
from collections.abc import Mapping
from typing import Any

from werkzeug import Request


def connection_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """Return the client's socket if the server exposes it, None otherwise."""
    for key in ("gunicorn.socket", "gunicorn.sock", "werkzeug.socket"):
        if key in environ:
            return environ[key]  # type: ignore[no-any-return]
    # gevent.pywsgi exposes it only below the reader of the request's body.
    reader = getattr(environ.get("wsgi.input"), "rfile", None)
    return getattr(getattr(reader, "raw", None), "_sock", None)


#: The names under which the query may carry the id: ours first, then those of
#: polyfills and of other servers' clients.
QUERY_NAMES = ("last_event_id", "lastEventId", "lastEventID", "Last-Event-ID")


def last_event_id(request: Request) -> str | None:
    """Return the id from which a client resumes, None for a new client.

    Browsers send the id as a header. Clients that cannot set headers put it into the
    query: the first connection of a page, and polyfills. A polyfill that was opened
    with a page's id repeats that id and adds its own, so the last one counts.
    """
    header = request.headers.get("Last-Event-ID")
    if header:
        return header
    args = request.args
    given = [text for name in QUERY_NAMES for text in args.getlist(name)]
    found = [text for text in given if text]
    return found[-1] if found else None
