"""The apps that are measured: the hub, and a handwritten solution without it."""

import importlib
import logging
import math
import os
import queue
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Request, Response, request
from flask.sessions import (
    SecureCookieSession,
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
)
from flask_login import LoginManager, UserMixin, login_required, login_user

from flask_sse_hub import SSEHub
from flask_sse_hub.server.accept_balance import AcceptBalance


def hub() -> Flask:
    """Return an app with the hub, open to everybody.

    The environment can change the settings.
    """
    return _app(logins=False)


def unyielding() -> Flask:
    """Return the same app with a fan-out that never yields to the event loop.

    A comparison with ``hub()`` shows how long ordinary requests wait without yielding,
    and how much throughput yielding costs.
    """
    try:
        writer = importlib.import_module("flask_sse_hub.hub.delivery.writer")
    except ModuleNotFoundError:
        logging.getLogger(__name__).error(
            "there is no fan-out over sockets: this app yields as usual"
        )
    else:
        writer._SLICE_SECONDS = math.inf  # type: ignore[attr-defined]  # noqa: SLF001
    return hub()


def users() -> Flask:
    """Return the same app with logins.

    The cookie of ``cookie_of()`` names the user, who is logged in with a separate
    session.
    """
    return _app(logins=True)


def visitors() -> Flask:
    """Return the app with logins in Flask's own cookie, and views to compare with."""
    app = _app(logins=True)
    app.session_interface = SecureCookieSessionInterface()

    @app.post("/login/<name>")
    def login(name: str) -> str:
        login_user(_User(name))
        return ""

    @app.get("/empty")
    @login_required  # type: ignore[untyped-decorator]
    def empty() -> str:
        return ""

    @app.post("/echo")
    def echo() -> bytes:
        return request.get_data()

    return app


class _User(UserMixin):  # type: ignore[misc]
    """A person whose id is its name."""

    def __init__(self, name: str) -> None:
        self.id = name


def cookie_of(user: str) -> str:
    """Return the header of a user of ``users()``.

    The cookie is as long as that of Flask-Login in Flask's own session: each stream
    keeps it, to check the user again.
    """
    return f"Cookie: session={'x' * 270}.{user}"


class _SessionOfName(SessionInterface):
    """Sessions of the users that a cookie names, without a signature."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:  # noqa: ARG002
        """Return a session that is logged in and has its own id."""
        _, _, user = request.cookies.get("session", "").partition(".")
        if not user:
            return SecureCookieSession()
        # The session id is as long as the hub's own session ids.
        return SecureCookieSession(
            {"_user_id": user, "_sse_hub_session": f"{user:0>22}"}
        )

    def save_session(
        self, app: Flask, session: SessionMixin, response: Response
    ) -> None:
        """Store nothing, since each request names its user."""


def _app(*, logins: bool) -> Flask:
    # Some scenarios publish more than the clients can receive. The tables count that,
    # so the warnings are left out.
    logging.getLogger("flask_sse_hub").setLevel(logging.ERROR)
    app = Flask("hub")
    app.config.update(
        SSE_HUB_LOGIN_REQUIRED=logins,
        SSE_HUB_MAX_CLIENTS_PER_USER=None,
        SSE_HUB_PUBLIC_CHANNELS=["*"],
        SSE_HUB_PRESENCE=["present"],
        SSE_HUB_STATS_ACCESS=lambda: True,
    )
    app.config.from_prefixed_env()
    if logins:
        # The key that signs the clients' ids.
        app.secret_key = "a key for benchmarks"  # noqa: S105
        app.session_interface = _SessionOfName()
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
        # The event goes to one channel, or to everybody if no channel is named.
        to: dict[str, Any] = request.args.to_dict()
        for _ in range(int(to.pop("count"))):
            sse_hub.publish(request.get_data(), **to)
        return ""

    return app


def spread() -> Flask:
    """Return the app with the hub, with a header that names the answering worker."""
    app = hub()

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def unspread() -> Flask:
    """Return the same app, whose workers accept clients as they come."""
    AcceptBalance.attend = lambda *_: None  # type: ignore[method-assign]
    return spread()


def baseline() -> Flask:
    """Return the usual first attempt: a generator and a queue for each client.

    It does less than the hub: it has no ids, no history, no heartbeat and no shutdown.
    """
    app = Flask("baseline")
    app.add_url_rule("/", view_func=lambda: "ok")
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

    @app.post("/publish")
    @app.post("/publish/<int:count>")
    def publish(count: int | None = None) -> str:
        block = b"data: " + request.get_data() + b"\n\n"
        for _ in range(int(request.args["count"]) if count is None else count):
            for waiting in list(clients):
                waiting.put(block)
        return ""

    return app
