"""gunicorn's settings for the example app: ``gunicorn`` in this directory starts it."""

import logging
import os
import secrets
from typing import Any

wsgi_app = "example_app:create_app()"

# The default is this machine only, since a proxy with TLS belongs in front.
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"

# The number of cores is a good choice. The workers exchange events through a file in
# the instance folder, or through Redis if the environment names one.
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))

# A stream stays open for an hour. A sync worker could serve nothing else during that
# time, while a waiting greenlet costs a few kilobytes.
worker_class = "gevent"

# The limit for requests that are being answered. Streams do not count, unless their
# sockets cannot be taken over; the log then says why.
worker_connections = 1000

# A worker that stops tells its clients when to reconnect, and is idle within a second.
# This time is only for requests that really need longer.
graceful_timeout = 10

# How long a connection waits for its next request, in seconds: longer than a page takes
# to load its parts. Behind a proxy, set more than the proxy's idle time, for example 75
# for nginx's default of 60.
keepalive = 5

# How long a request's body may pause, in seconds. gunicorn would wait for ever, and
# each body that stops half way would occupy one of worker_connections. A body that
# trickles in is left to the proxy in front, which reads a whole body before it passes
# it on.
body_timeout = 30.0

# The worker reports to the master independently of its streams, so this does not limit
# the length of a stream.
timeout = 30

# Newer versions of gunicorn open a control socket in the home directory. Nothing here
# uses it, and all servers of one person would share it.
control_socket_disable = True

# The access log goes to standard output, where a process manager collects it. It has
# the path without the query, since a query may contain a ticket, which any reader of
# the log could use until it expires.
accesslog = "-"
access_log_format = '%(h)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s "%(a)s"'
loglevel = "info"

# The hub logs through the standard library, and gunicorn only sets up its own loggers.
# Without this, the log would only have the hub's warnings and errors.
logging.basicConfig(
    level=logging.INFO,
    format="[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s",
)

# The key is made here, once, before workers are forked. Otherwise each worker would
# make its own key. Replacing a worker would then sign everybody out, and their clients
# would be refused instead of resumed.
_KEY_IS_RANDOM = "FLASK_SECRET_KEY" not in os.environ
if _KEY_IS_RANDOM:
    os.environ["FLASK_SECRET_KEY"] = secrets.token_urlsafe(32)


def pre_request(_: Any, req: Any) -> None:
    """Set the timeout of a body; a body that stops raises an error where it is read."""
    if {"CONTENT-LENGTH", "TRANSFER-ENCODING"} & {name for name, _ in req.headers}:
        req.unreader.sock.settimeout(body_timeout)


def when_ready(server: Any) -> None:
    """Log the URL of the demo, and the users who can sign in."""
    for listener in server.LISTENERS:
        server.log.info("The demo is at %s/sse-demo (alice or bob, demo)", listener)


def on_starting(server: Any) -> None:
    """Warn that logins end with this server if its key is random."""
    if _KEY_IS_RANDOM:
        server.log.warning(
            "FLASK_SECRET_KEY is not set: a random key is used, so everybody is signed"
            " out when this server is restarted"
        )
