"""Problems: told by the command, by the health check and at the first request."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SessionInterface
from flask_login import LoginManager

from flask_sse_hub import SSEHub
from flask_sse_hub.web.problems import Problem, Problems

NO_LOGIN = "SSE_HUB_LOGIN_REQUIRED needs Flask-Login"
NO_KEY = "signed with the app's SECRET_KEY, and none is set"
SYNC = "gunicorn's sync worker"
SHORT = "keeps events within one process"

#: Requests as a server with one thread makes them.
ONE_THREAD = {"gunicorn.socket": 1, "wsgi.multithread": False}


def app_with(**config: Any) -> Flask:
    app = Flask("faulty")
    app.config.update({"SECRET_KEY": "a key", "SSE_HUB_BROKER_URL": "memory://"})
    app.config.update(config)
    return app


def no_login() -> Flask:
    app = app_with()
    SSEHub(app)
    return app


def no_key() -> Flask:
    app = app_with(SECRET_KEY=None)
    LoginManager(app).user_loader(lambda _: None)
    SSEHub(app)
    return app


def good() -> Flask:
    app = app_with(SSE_HUB_LOGIN_REQUIRED=False)
    SSEHub(app)
    return app


def health(app: Flask, environ: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Return the status and the JSON of a health check."""
    answer = app.test_client().get("/events/health", environ_overrides=environ or {})
    return answer.status_code, answer.json


def close(app: Flask) -> None:
    app.extensions["sse_hub"].close()


CASES = pytest.mark.parametrize(
    ("make", "environ", "text"),
    [
        (no_login, {}, NO_LOGIN),
        (no_key, {}, NO_KEY),
        (good, ONE_THREAD, SYNC),
        (good, {"wsgi.multiprocess": True}, SHORT),
    ],
    ids=["no login manager", "no secret key", "one thread", "memory"],
)


@CASES
def test_health_tells_why_every_stream_fails(
    make: Callable[[], Flask], environ: dict[str, Any], text: str
) -> None:
    """A load balancer sends it no streams, and the operator reads the remedy."""
    app = make()
    status, answer = health(app, environ)
    assert status == 503
    assert text in answer["reason"]
    close(app)


@CASES
def test_the_first_request_of_any_kind_logs_it_once(
    make: Callable[[], Flask],
    environ: dict[str, Any],
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody has to open a stream to find out."""
    app = make()
    for _ in range(3):
        app.test_client().get("/missing", environ_overrides=environ)
    lines = [each for each in caplog.records if text in each.getMessage()]
    assert [each.levelname for each in lines] == ["WARNING"]
    assert lines[0].getMessage().startswith("all streams of this app will fail: ")
    close(app)


@pytest.mark.parametrize(("make", "text"), [(no_login, NO_LOGIN), (no_key, NO_KEY)])
def test_the_command_tells_what_the_app_alone_can_tell(
    make: Callable[[], Flask], text: str
) -> None:
    """It runs in a deployment's pipeline, before there is a server."""
    app = make()
    result = app.test_cli_runner().invoke(args=["sse", "check"])
    assert result.exit_code == 1
    assert text in result.output
    assert len(result.output.splitlines()) == 1
    close(app)


def test_the_text_is_that_of_the_error(caplog: pytest.LogCaptureFixture) -> None:
    """A search for the line finds the warning and the error."""
    app = no_login()
    _, answer = health(app)
    assert app.test_client().get("/events").status_code == 500
    assert caplog.text.count(answer["reason"]) == 2
    close(app)


def test_several_problems_are_told_together() -> None:
    """Each has a line of its own."""
    app = app_with(SECRET_KEY=None)
    SSEHub(app)
    _, answer = health(app, ONE_THREAD)
    server, login, key = answer["reason"].splitlines()
    assert (SYNC in server, NO_LOGIN in login, NO_KEY in key) == (True, True, True)
    close(app)


def test_a_good_app_has_no_problem(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged, and the command succeeds."""
    app = good()
    app.test_client().get("/missing")
    assert not caplog.records
    result = app.test_cli_runner().invoke(args=["sse", "check"])
    assert (result.exit_code, result.output) == (0, "no problem was found\n")
    close(app)


def bearer(app: Flask) -> None:
    manager = LoginManager(app)
    manager.user_loader(lambda _: None)
    manager.request_loader(lambda _: None)


class StoredSessions(SessionInterface):
    """Sessions on the server, for which the browser has only a random id."""


def stored(app: Flask) -> None:
    app.session_interface = StoredSessions()
    LoginManager(app).user_loader(lambda _: None)


def for_everybody(app: Flask) -> None:
    app.config["SSE_HUB_LOGIN_REQUIRED"] = False


@pytest.mark.parametrize("prepare", [bearer, stored, for_everybody])
def test_streams_without_signed_sessions_need_no_secret_key(
    prepare: Callable[[Flask], None],
) -> None:
    """Client ids and tickets do, so the check warns, and the worker stays ready."""
    app = app_with(SECRET_KEY=None)
    prepare(app)
    SSEHub(app)
    found = app.extensions["sse_hub"].problems
    assert found.that_stop_streams({}) is None
    (text,) = found.that_spare_streams({})
    assert NO_KEY in text
    close(app)


def test_health_warns_while_the_worker_is_ready() -> None:
    """The warning must not take a worker out of the load balancer."""
    app = app_with(SECRET_KEY=None, SSE_HUB_LOGIN_REQUIRED=False)
    SSEHub(app)
    state = app.extensions["sse_hub"]
    state.hub.start()
    status, answer = health(app)
    assert (status, answer["status"]) == (200, "ready")
    assert NO_KEY in answer["warnings"][0]
    close(app)


def test_a_server_is_asked_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later requests pay nothing. A test client's request does not count."""
    looked: list[object] = []

    def found(self: Problems, environ: object = None) -> Iterator[Problem]:
        looked.append(environ)
        return iter(())

    monkeypatch.setattr(Problems, "found", found)
    app = good()
    for environ in ({}, ONE_THREAD, {}):
        app.test_client().get("/missing", environ_overrides=environ)
    assert len(looked) == 2
    close(app)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:9", "cannot be reached"),
        ("127.0.0.1:8000", "is not the address of a server"),
    ],
)
def test_the_command_says_why_it_cannot_ask_a_server(url: str, text: str) -> None:
    """A typo in the address is no success."""
    app = good()
    result = app.test_cli_runner().invoke(args=["sse", "check", url])
    assert result.exit_code != 0
    assert text in result.output
    close(app)
