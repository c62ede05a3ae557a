"""gunicorn's settings for the example app: ``gunicorn`` in this directory starts it."""

import logging
import os
import secrets
from typing import Any

wsgi_app = "example_app:create_app()"

# This machine only, unless told otherwise: a proxy with TLS belongs in front.
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"

# As many as there are cores is a good number. They hear each other through a file in
# the instance folder, or through Redis where the environment names one.
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))

# A stream stays open for an hour: with sync workers it would be the only thing that its
# worker does. A greenlet that waits costs a few kilobytes.
worker_class = "gevent"

# For requests that are being answered. Streams take none of these, unless something
# keeps their sockets from being taken over; the log then says what.
worker_connections = 1000

# A worker that goes away tells its clients when to come back, and is idle within a
# second. This is only for requests that really need longer.
graceful_timeout = 10

# How long a connection waits for its next request. Longer than a page takes to load its
# parts; a proxy in front wants more than its own idle time, 75 for nginx's default 60.
keepalive = 5

# For so many seconds a request's body may pause. gunicorn would wait for ever, and each
# that stops half way would keep one of worker_connections. One that trickles is for the
# proxy in front, which takes the whole body before it passes it on.
body_timeout = 30.0

# The worker tells the master that it lives, whatever its streams do: this is not a
# limit on the length of a stream.
timeout = 30

# Newer gunicorns open a socket in the home directory to be commanded through. Nothing
# here does that, and all servers of one person would share it.
control_socket_disable = True

# To standard output, for whatever runs this to collect. The path without its query, in
# which a ticket may be, and anybody who reads the log could use it until it expires.
accesslog = "-"
access_log_format = '%(h)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s "%(a)s"'
loglevel = "info"

# The hub logs through the standard library, and gunicorn only sets up its own loggers:
# without this, nothing below a warning would be seen of flask_sse_hub.
logging.basicConfig(
    level=logging.INFO,
    format="[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s",
)

# Made here, once, before workers are forked. Each worker would make a key of its own
# otherwise, and when one is replaced everybody would be signed out, and their clients
# refused instead of resumed.
_KEY_IS_RANDOM = "FLASK_SECRET_KEY" not in os.environ
if _KEY_IS_RANDOM:
    os.environ["FLASK_SECRET_KEY"] = secrets.token_urlsafe(32)


def pre_request(_: Any, req: Any) -> None:
    """Give up on a body that stops; who reads it gets an error."""
    if {"CONTENT-LENGTH", "TRANSFER-ENCODING"} & {name for name, _ in req.headers}:
        req.unreader.sock.settimeout(body_timeout)


def when_ready(server: Any) -> None:
    """Say where the demo is, and who can sign in."""
    for listener in server.LISTENERS:
        server.log.info("The demo is at %s/sse-demo (alice or bob, demo)", listener)


def on_starting(server: Any) -> None:
    """Say what will not outlive this server."""
    if _KEY_IS_RANDOM:
        server.log.warning(
            "FLASK_SECRET_KEY is not set: a random key is used, so everybody is signed"
            " out when this server is started anew"
        )
