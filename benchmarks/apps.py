"""The apps that are measured: the hub, and what people write by hand without it."""

import importlib
import logging
import math
import os
import queue
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SessionInterface, SessionMixin
from flask_login import LoginManager, UserMixin

from flask_sse_hub import SSEHub
from flask_sse_hub.server.accept_balance import Spread


def hub() -> Flask:
    """Return an app with the hub, open to everybody; the environment can set more."""
    return _app(logins=False)


def unyielding() -> Flask:
    """Return the same with a fan-out that never gives the event loop back.

    What its ordinary requests wait, and what giving way costs in throughput, is seen
    beside it.
    """
    try:
        writer = importlib.import_module("flask_sse_hub.hub.delivery.writer")
    except ModuleNotFoundError:
        logging.getLogger(__name__).error(
            "there is no fan-out over sockets: this one yields as ever"
        )
    else:
        writer._SLICE_SECONDS = math.inf  # type: ignore[attr-defined]  # noqa: SLF001
    return hub()


def users() -> Flask:
    """Return the same with logins: ``X-User`` is logged in, in a session of its own."""
    return _app(logins=True)


class _User(UserMixin):  # type: ignore[misc]
    """A person whose id is its name."""

    def __init__(self, name: str) -> None:
        self.id = name


class _SessionOfHeader(SessionInterface):
    """Sessions of the users that a header names, as a cookie would bring them."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:  # noqa: ARG002
        """Return a session like one that has logged in and has an id of its own."""
        user = request.headers.get("X-User")
        if user is None:
            return SecureCookieSession()
        # As long as the ids that are minted.
        return SecureCookieSession(
            {"_user_id": user, "_sse_hub_session": f"{user:0>22}"}
        )

    def save_session(
        self, app: Flask, session: SessionMixin, response: Response
    ) -> None:
        """Keep nothing: the next request says again who it is."""


def _app(*, logins: bool) -> Flask:
    # That more is published than clients can get is counted, and printed in a table.
    logging.getLogger("flask_sse_hub").setLevel(logging.ERROR)
    app = Flask("hub")
    app.config.update(
        SSE_HUB_LOGIN_REQUIRED=logins,
        SSE_HUB_MAX_CLIENTS_PER_USER=None,
        SSE_HUB_PUBLIC_CHANNELS=["*"],
        SSE_HUB_STATS_ACCESS=lambda: True,
    )
    app.config.from_prefixed_env()
    if logins:
        # It signs the clients' ids.
        app.secret_key = "a key for benchmarks"  # noqa: S105
        app.session_interface = _SessionOfHeader()
        LoginManager(app).user_loader(_User)
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

    @app.post("/publish")
    def publish_to() -> str:
        # To one channel, or to everybody where none is named.
        to: dict[str, Any] = request.args.to_dict()
        for _ in range(int(to.pop("count"))):
            sse_hub.publish(request.get_data(), **to)
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
