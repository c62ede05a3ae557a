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


def last_event_id(request: Request) -> str | None:
    """Return the id from which a client resumes, None for a new client.

    Browsers send the id as a header. The first connection of a page cannot set headers,
    so it may put the id into the query.
    """
    return (
        request.headers.get("Last-Event-ID")
        or request.args.get("last_event_id")
        or None
    )
