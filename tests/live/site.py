"""The app that real servers run in the live tests; SSE_HUB_* variables configure it."""

import json
import os
import time
from pathlib import Path
from typing import Any

from flask import (
    Flask,
    Response,
    jsonify,
    render_template_string,
    request,
    send_from_directory,
    session,
)
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, current_user, login_user, logout_user

from flask_sse_hub import SSEHub
from flask_sse_hub.webhooks import HMAC, Delivery, webhook
from tests.live import answers, lasting
from tests.live.middlewares import apply
from tests.live.people import People, User

SECRET_KEY = "the same in every worker"

# A page as an app would write it, with a stream that the tests look at.
TAB = Path(__file__).with_name("tab.html").read_text()
WORKERS = Path(__file__).with_name("workers")

SAVE = {"Content-Disposition": "attachment; filename=export"}

sse_hub = SSEHub()
login_manager = LoginManager()
# Streams have to work with the strictest setting of Flask-Login.
login_manager.session_protection = "strong"
people = People()


@login_manager.user_loader  # type: ignore[untyped-decorator]
def load_user(name: str) -> User | None:
    return people.get(name)


@login_manager.request_loader  # type: ignore[untyped-decorator]
def load_bearer(_: object) -> User | None:
    """Log in the user that a bearer token names.

    Tests with many clients need no cookies then.
    """
    authorization = request.authorization
    if authorization is None or authorization.token is None:
        return None
    user: User | None = load_user(authorization.token)
    return user


@login_manager.unauthorized_handler  # type: ignore[untyped-decorator]
def ask_for_login() -> ResponseReturnValue:
    return jsonify(error="log in first"), 401


@sse_hub.authorize_channel
def may_listen(user: User, channel: str) -> bool:
    """Open a channel to the users in its name, and every channel to the admin."""
    is_named = user.id in {"admin", *channel.split("+")}
    return is_named and not people.is_closed(channel)


def create_app() -> Flask:
    app = Flask("live")
    app.config.update(
        SECRET_KEY=SECRET_KEY,
        SSE_HUB_STATS_ACCESS=lambda: True,
        SSE_HUB_PUBLIC_CHANNELS=["news"],
    )
    app.config.update(
        {
            key: json.loads(value)
            for key, value in os.environ.items()
            if key.startswith("SSE_HUB_")
        }
    )
    people.init_app(app)
    login_manager.init_app(app)
    sse_hub.init_app(app)
    _add_views(app)
    app.register_blueprint(answers.blueprint(people.count))
    app.register_blueprint(lasting.blueprint(sse_hub))
    if "LIVE_MIDDLEWARE" in os.environ:
        apply(app, os.environ["LIVE_MIDDLEWARE"])
    return app


def _add_views(app: Flask) -> None:
    @app.post("/login/<name>")
    def login(name: str) -> str:
        login_user(load_user(name), remember="remember" in request.args)
        # Flask prolongs a permanent session by each request, except by streams.
        session.permanent = "permanent" in request.args
        return "in"

    @app.post("/delete/<name>")
    def delete(name: str) -> str:
        people.delete(name)
        return "deleted"

    @app.post("/close/<channel>")
    def close(channel: str) -> str:
        people.close(channel)
        return "closed"

    @app.post("/ticket")
    def ticket() -> str:
        return sse_hub.ticket(**request.get_json())

    @app.post("/logout")
    def logout() -> str:
        logout_user()
        return "out"

    @app.post("/publish")
    def publish() -> str:
        wanted = request.get_json()
        event_id: str = sse_hub.publish(wanted.pop("data"), **wanted)
        return event_id

    @app.get("/present/<channel>")
    def present(channel: str) -> dict[str, Any]:
        """Return what this worker knows of the people in a channel."""
        found = sse_hub.present(channel)
        devices = {each.user: each.devices for each in found}
        return {"devices": devices, "stale": found.stale}

    @app.post("/webhook")
    @webhook(HMAC("live"), max_bytes=1000)
    def receive(delivery: Delivery) -> str:
        return sse_hub.publish(delivery.body, idempotency_key=delivery.idempotency_key)

    @app.post("/publish/<int:count>")
    def publish_many(count: int) -> str:
        for number in range(count):
            sse_hub.publish(str(number))
        return "published"

    @app.post("/events-by-post")
    def by_post() -> Response:
        return sse_hub.stream("news")

    @app.get("/with-hooks/sse")
    def with_hooks() -> Response:
        response = sse_hub.stream("news")
        response.set_cookie("never", "sent")
        response.headers["X-Hook"] = "run"
        response.call_on_close(lambda: app.logger.warning("the response was closed"))
        return response

    @app.get("/failing-hook/sse")
    def failing_hook() -> Response:
        def fail() -> None:
            raise RuntimeError("a hook that fails")

        response = sse_hub.stream("news")
        response.call_on_close(fail)
        return response

    @app.post("/disconnect/<name>")
    def disconnect(name: str) -> str:
        sse_hub.disconnect(user=name)
        return "disconnected"

    @app.get("/caller")
    def caller() -> dict[str, str | None]:
        return {"address": request.remote_addr, "url": request.url}

    @app.get("/page")
    def page() -> dict[str, str]:
        return {"client": sse_hub.client_id(), "session": sse_hub.session_id()}

    @app.get("/tab")
    def tab() -> str:
        # A test may pass its own template.
        return render_template_string(request.args.get("template", TAB))

    @app.route("/export", methods=["GET", "POST"])
    def export() -> ResponseReturnValue:
        """Answer a navigation that does not leave the page: a download, or nothing."""
        time.sleep(float(request.args.get("seconds", 0)))
        if "empty" in request.args:
            return "", 204
        return Response("the export", mimetype="application/octet-stream", headers=SAVE)

    @app.get("/workers/<name>")
    def workers(name: str) -> Response:
        """Serve a script of a worker, also one that was built into this folder.

        A page cannot make up such a script.
        """
        built = Path.cwd() / "workers"
        response = send_from_directory(
            built if (built / name).exists() else WORKERS, name
        )
        # A service worker may otherwise control only the pages below its own path.
        response.headers["Service-Worker-Allowed"] = "/"
        return response

    @app.get("/react/<path:name>")
    def react(name: str) -> Response:
        """Serve an app that was built into the server's folder."""
        return send_from_directory(Path.cwd() / "react", name)

    @app.get("/dashboard/sse")
    def dashboard() -> Response:
        return sse_hub.stream("dashboard")

    @app.get("/querying/sse")
    def querying() -> Response:
        assert current_user.id
        assert people.count()
        return sse_hub.stream("news")

    @app.get("/slow")
    def slow() -> str:
        time.sleep(0.05)
        return str(os.getpid())

    @app.post("/fork")
    def fork() -> str:
        child = os.fork()
        if child == 0:
            # The child's copies of greenlets have this time to do harm.
            time.sleep(0.05)
            os._exit(0)
        os.waitpid(child, 0)
        return "forked"

    @app.get("/process")
    def process() -> dict[str, int]:
        return {
            "pid": os.getpid(),
            "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
            "connections": people.connections,
        }
