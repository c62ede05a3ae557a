"""The apps that are measured: the hub, and what people write by hand without it."""

import logging
import os
import queue
import time
from collections.abc import Iterator

from flask import Flask, Response, request

from flask_sse_hub import SSEHub
from flask_sse_hub.spread import Spread


def hub() -> Flask:
    """Return an app with the hub, open to everybody; the environment can set more."""
    # That more is published than clients can get is counted, and printed in a table.
    logging.getLogger("flask_sse_hub").setLevel(logging.ERROR)
    app = Flask("hub")
    app.config.update(
        SSE_HUB_LOGIN_REQUIRED=False,
        SSE_HUB_MAX_CLIENTS_PER_USER=None,
        SSE_HUB_STATS_ACCESS=lambda: True,
    )
    app.config.from_prefixed_env()
    sse_hub = SSEHub(app)

    @app.get("/")
    def page() -> str:
        return "ok"

    @app.post("/stamped")
    def stamped() -> str:
        # Linux has one monotonic clock for all processes.
        sse_hub.publish(str(time.monotonic_ns()))
        return ""

    @app.post("/publish/<int:count>")
    def publish(count: int) -> str:
        for _ in range(count):
            sse_hub.publish(request.get_data())
        return ""

    return app


def spread() -> Flask:
    """Return the app with the hub, which says in a header which worker answers."""
    app = hub()

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def unspread() -> Flask:
    """Return the same, whose workers accept clients as they come."""
    Spread.attend = lambda *_: None  # type: ignore[method-assign]
    return spread()


def baseline() -> Flask:
    """Return the usual first attempt: a generator and a queue for each client.

    It has no ids, no history, no heartbeat and no end; so much less it does.
    """
    app = Flask("baseline")
    clients: set[queue.SimpleQueue[bytes]] = set()

    @app.get("/events")
    def events() -> Response:
        def stream() -> Iterator[bytes]:
            waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
            clients.add(waiting)
            try:
                yield b"event: connected\ndata: {}\n\n"
                while True:
                    yield waiting.get()
            finally:
                clients.discard(waiting)

        return Response(stream(), mimetype="text/event-stream")

    @app.post("/publish/<int:count>")
    def publish(count: int) -> str:
        block = b"data: " + request.get_data() + b"\n\n"
        for _ in range(count):
            for waiting in list(clients):
                waiting.put(block)
        return ""

    return app
