"""Error handlers of an app, made for people, do not change answers to programs."""

import logging
from typing import Any

import pytest
from flask import abort, redirect
from werkzeug.exceptions import HTTPException

from tests.compat.table import compat
from tests.conftest import MakeSite, Site

TOKEN = "a-token-for-everything"
STATUSES = [400, 401, 403, 404, 405, 415, 429, 500, 503]


def to_login(_: Exception) -> Any:
    return redirect("/sign-in")


def page(_: Exception) -> Any:
    return "<html>Something went wrong</html>", 200


def register(site: Site, scope: str, handler: Any) -> None:
    if scope == "statuses":
        for status in STATUSES:
            site.app.register_error_handler(status, handler)
    else:
        kind = HTTPException if scope == "HTTP errors" else Exception
        site.app.register_error_handler(kind, handler)


def fails() -> bool:
    raise RuntimeError("the rule of an app")


REFUSED = [
    ("GET", "/events", 401),
    ("GET", "/events?channel=a", 401),
    ("GET", "/events/stats", 403),
    ("GET", "/events/health", 503),
    ("POST", "/events/publish", 401),
    ("PUT", "/events", 405),
]


@pytest.mark.parametrize("handler", [to_login, page])
@pytest.mark.parametrize(
    "scope",
    [
        pytest.param(
            "statuses",
            marks=compat("Flask", "test client", "error handlers for statuses"),
        ),
        pytest.param(
            "HTTP errors",
            marks=compat("Flask", "test client", "an error handler for HTTPException"),
        ),
        pytest.param(
            "everything",
            marks=compat("Flask", "test client", "an error handler for Exception"),
        ),
    ],
)
@pytest.mark.parametrize(("method", "path", "status"), REFUSED)
def test_a_refusal_keeps_its_status(
    make_site: MakeSite, scope: str, handler: Any, method: str, path: str, status: int
) -> None:
    """A native EventSource and a load balancer would take a page for success."""
    site = make_site(publish_tokens=[TOKEN])
    site.app.login_manager.login_view = "login"  # type: ignore[attr-defined]
    register(site, scope, handler)
    client = site.app.test_client()
    if path == "/events/health":
        site.app.extensions["sse_hub"].hub.drain()
    response = client.open(path, method=method)
    assert response.status_code == status
    assert "html" not in response.text
    assert client.get("/no/such/path").text != response.text


@compat("Flask", "test client", "an error handler for 500 that renders a page")
@pytest.mark.parametrize("scope", ["statuses", "everything"])
def test_a_failure_keeps_its_status(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture, scope: str
) -> None:
    """It is logged as it would be without the handler."""
    site = make_site(stats_access=fails)
    site.app.testing = False
    register(site, scope, page)
    with caplog.at_level(logging.ERROR):
        response = site.app.test_client().get("/events/stats")
    assert response.status_code == 500
    assert "html" not in response.text
    assert "the rule of an app" in caplog.text


@compat("Flask", "test client", "a hook that aborts, with an error handler")
def test_a_hook_that_aborts_is_answered_by_status(site: Site) -> None:
    """The handler of the app redirects everything else."""
    register(site, "statuses", to_login)
    site.app.before_request(lambda: abort(401))
    client = site.app.test_client()
    assert client.get("/page").status_code == 302
    assert client.get("/events").status_code == 401


@compat("Flask", "test client", "an error handler for 429")
def test_a_refused_rate_of_tokens_keeps_its_status(make_site: MakeSite) -> None:
    """``Retry-After`` would be lost on a page."""
    token = {"token": TOKEN, "rate": "1/hour"}
    site = make_site(publish_tokens=[token])
    register(site, "statuses", page)
    body = {"data": "x", "target": "everyone"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client = site.app.test_client()
    answers = [
        client.post("/events/publish", json=body, headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 429]
    assert "Retry-After" in answers[-1].headers
