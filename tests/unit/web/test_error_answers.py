"""The answers of the blueprint to errors."""

from collections.abc import Mapping
from typing import Any

import pytest
from flask import Response, abort, redirect, render_template_string, request
from flask_login import LoginManager

from tests.conftest import MakeSite, Site

TOKENS = [{"token": "a-token-of-some-length", "name": "one"}]

# The requests of programs, by the header that tells them from browsers.
PROGRAMS = {
    "a program that accepts JSON": {"Accept": "application/json"},
    "axios": {"Accept": "application/json, text/plain, */*"},
    "the browser client": {"Accept": "text/event-stream", "Prefer": "sse-status"},
}

# The requests of everything else.
OTHERS: dict[str, dict[str, str]] = {
    "nothing said": {},
    "curl": {"Accept": "*/*"},
    "an EventSource": {"Accept": "text/event-stream"},
    "a browser's address bar": {"Accept": "text/html,application/xml;q=0.9,*/*;q=0.8"},
    "a program that refuses JSON": {"Accept": "text/plain, application/json;q=0"},
}

# Requests that every app refuses: method, path, user, and a part of the text.
REFUSED = [
    ("GET", "/events", None, 401, "log in to open this stream"),
    ("GET", "/events?ticket=forged", None, 401, "this ticket is invalid"),
    ("GET", "/events?channel=typo", "alice", 403, "the channel 'typo' is not open"),
    ("GET", "/events?client_id=forged", "alice", 400, "was not signed by this app"),
    ("GET", "/events/stats", "alice", 403, "SSE_HUB_STATS_ACCESS"),
    ("POST", "/events", "alice", 405, "not allowed"),
    ("DELETE", "/events/health", None, 405, "not allowed"),
    ("PUT", "/events/health/live", None, 405, "not allowed"),
    ("POST", "/events/stats", None, 405, "not allowed"),
    ("POST", "/events/sse-hub.js", None, 405, "not allowed"),
    ("GET", "/events/publish", None, 405, "not allowed"),
    ("GET", "/events/helth", None, 404, "the hub has no endpoint '/events/helth'"),
    ("POST", "/events/", None, 404, "the hub has no endpoint '/events/'"),
]


def ask(
    site: Site, method: str, path: str, user: str | None, headers: Mapping[str, str]
) -> Any:
    client = site.browser(user).client
    return client.open(path, method=method, headers=dict(headers))


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app whose own error handlers answer every error with a page or a redirect."""
    site = make_site(publish_tokens=TOKENS)

    @site.app.errorhandler(401)
    def to_the_login_page(_: Exception) -> Any:
        return redirect("/login")

    @site.app.errorhandler(403)
    @site.app.errorhandler(405)
    @site.app.errorhandler(Exception)
    def page(error: Exception) -> tuple[str, int]:
        status = getattr(error, "code", 500)
        return render_template_string("<h1>{{ error }}</h1>", error=error), status

    return site


class TestForm:
    @pytest.mark.parametrize("request_of", PROGRAMS)
    @pytest.mark.parametrize(("method", "path", "user", "status", "text"), REFUSED)
    def test_a_program_receives_json(
        self,
        site: Site,
        method: str,
        path: str,
        user: str | None,
        status: int,
        text: str,
        request_of: str,
    ) -> None:
        """The reason is in the field "error", as in the answers of the publish API."""
        answer = ask(site, method, path, user, PROGRAMS[request_of])
        assert answer.status_code == status
        assert answer.mimetype == "application/json"
        assert list(answer.json) == ["error"]
        assert text in answer.json["error"]
        assert answer.headers["Cache-Control"] == "private, no-store"

    @pytest.mark.parametrize("request_of", OTHERS)
    @pytest.mark.parametrize(("method", "path", "user", "status", "text"), REFUSED)
    def test_everything_else_receives_plain_text(
        self,
        site: Site,
        method: str,
        path: str,
        user: str | None,
        status: int,
        text: str,
        request_of: str,
    ) -> None:
        """The reason is the whole body. A browser's network tools show it."""
        answer = ask(site, method, path, user, OTHERS[request_of])
        assert answer.status_code == status
        assert answer.mimetype == "text/plain"
        assert text in answer.text
        assert "<" not in answer.text
        assert answer.headers["Cache-Control"] == "private, no-store"

    def test_a_body_in_json_makes_a_program(self, site: Site) -> None:
        """Many HTTP libraries send JSON without an Accept header of their own."""
        answer = site.browser("alice").client.post("/events", json={})
        assert (answer.status_code, answer.mimetype) == (405, "application/json")

    @pytest.mark.parametrize("headers", [{}, PROGRAMS["the browser client"]])
    def test_a_temporary_refusal_has_the_same_form(
        self, make_site: MakeSite, headers: dict[str, str]
    ) -> None:
        """A method other than GET is refused with a status without asking for it."""
        site = make_site(max_clients=1)
        site.app.post("/mine")(lambda: site.hub.stream())
        site.browser("alice").stream().next("connected")
        answer = ask(site, "POST", "/mine", "alice", headers)
        assert answer.status_code == 503
        assert "this worker holds 1 clients" in answer.text
        assert answer.mimetype == ("application/json" if headers else "text/plain")

    def test_the_methods_of_an_endpoint_are_named(self, make_site: MakeSite) -> None:
        """A page of an allowed origin can read the refusal of its method too."""
        site = make_site(cors_origins=["https://app.example"])
        headers = {"Origin": "https://app.example"}
        answer = ask(site, "POST", "/events", "alice", headers)
        assert sorted(answer.allow) == ["GET", "HEAD", "OPTIONS"]
        origin = answer.headers["Access-Control-Allow-Origin"]
        assert origin == "https://app.example"


class TestErrorsOfTheApp:
    """Errors that code of the app raises during a request for an endpoint."""

    def test_a_rule_that_aborts_is_answered_without_a_page(self, site: Site) -> None:
        """A rule may use abort() and get_or_404()."""

        @site.hub.authorize_channel
        def rule(*_: object) -> bool:
            abort(404, "there is no such room")

        answer = ask(site, "GET", "/events?channel=x", "alice", {})
        assert (answer.status_code, answer.text) == (404, "there is no such room")

    def test_the_headers_of_an_error_are_kept(self, site: Site) -> None:
        """A limiter says when to come back."""
        from werkzeug.exceptions import TooManyRequests

        @site.app.before_request
        def limit() -> None:
            if request.path == "/events":
                raise TooManyRequests("5 per minute", retry_after=42)

        answer = ask(site, "GET", "/events", None, {"Accept": "application/json"})
        assert (answer.status_code, answer.json) == (429, {"error": "5 per minute"})
        assert answer.headers["Retry-After"] == "42"

    def test_a_failure_is_a_500_without_a_page(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The traceback is in the log. The answer does not contain the error's text."""
        site.app.config["TESTING"] = False

        @site.hub.authorize_channel
        def rule(*_: object) -> bool:
            raise RuntimeError("a secret")

        answer = ask(site, "GET", "/events?channel=x", "alice", {})
        assert (answer.status_code, answer.mimetype) == (500, "text/plain")
        assert "secret" not in answer.text
        assert "a secret" in caplog.text

    def test_a_page_of_a_hook_is_replaced(self, site: Site) -> None:
        """A hook may answer for every path of the app."""

        @site.app.before_request
        def closed() -> tuple[str, int]:
            return "<html><h1>We are closed</h1></html>", 503

        answer = ask(site, "GET", "/events/health", None, {})
        assert (answer.status_code, answer.mimetype) == (503, "text/plain")
        assert "<" not in answer.text

    def test_a_page_of_the_login_handler_is_replaced(self, site: Site) -> None:
        """Its status and headers are kept."""
        manager = _manager(site)

        @manager.unauthorized_handler  # type: ignore[untyped-decorator]
        def page() -> Response:
            return Response("<h1>Log in</h1>", 401, {"WWW-Authenticate": "Bearer"})

        answer = ask(site, "GET", "/events", None, {"Accept": "application/json"})
        assert (answer.status_code, answer.mimetype) == (401, "application/json")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "<" not in answer.json["error"]

    def test_a_text_of_the_login_handler_is_kept(self, site: Site) -> None:
        """Flask gives a text the type of a page, although it is none."""
        manager = _manager(site)
        manager.unauthorized_handler(lambda: ("members only", 403))
        answer = ask(site, "GET", "/events", None, {})
        assert (answer.status_code, answer.text) == (403, "members only")
        assert answer.mimetype == "text/plain"

    def test_an_error_with_a_response_of_its_own_keeps_it(self, site: Site) -> None:
        """An error may bring a response instead of a text."""
        from werkzeug.exceptions import Forbidden

        @site.hub.authorize_channel
        def rule(*_: object) -> bool:
            raise Forbidden(response=Response("no", 403, mimetype="text/x-reason"))

        answer = ask(site, "GET", "/events?channel=x", "alice", {})
        assert (answer.text, answer.mimetype) == ("no", "text/x-reason")

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/page/of/nobody", 404),
            ("GET", "/eventss", 404),
            ("POST", "/page", 405),
        ],
    )
    def test_the_apps_own_paths_keep_their_error_pages(
        self, site: Site, method: str, path: str, status: int
    ) -> None:
        """Only the endpoints of the blueprint answer by themselves."""
        answer = ask(site, method, path, None, {})
        assert (answer.status_code, answer.mimetype) == (status, "text/html")

    def test_a_prefix_that_the_app_shares_keeps_the_apps_error_page(
        self, site: Site
    ) -> None:
        """An app may have pages about events of its own."""
        site.app.add_url_rule("/events/<int:number>", "an event", lambda number: "")
        answer = ask(site, "GET", "/events/seven", None, {})
        assert (answer.status_code, answer.mimetype) == (404, "text/html")


class TestRemedies:
    """In debug mode a refusal says how a developer changes it."""

    @pytest.mark.parametrize("debug", [True, False])
    def test_a_closed_channel(self, make_site: MakeSite, debug: bool) -> None:
        """Without a rule and without public channels, every channel is closed."""
        site = make_site()
        site.app.debug = debug
        text = ask(site, "GET", "/events?channel=typo", "alice", {}).text
        remedy = "open it with SSE_HUB_PUBLIC_CHANNELS or @sse_hub.authorize_channel"
        assert text.startswith("the channel 'typo' is not open to you")
        assert (remedy in text) is debug

    def test_a_channel_that_the_rule_closes(self, make_site: MakeSite) -> None:
        """The app has a rule already."""
        site = make_site()
        site.app.debug = True
        site.hub.authorize_channel(lambda user, channel: False)
        text = ask(site, "GET", "/events?channel=typo", "alice", {}).text
        assert "the function of @sse_hub.authorize_channel returned false" in text

    def test_a_channel_that_a_ticket_does_not_open(self, make_site: MakeSite) -> None:
        """The channels of a ticket are decided when it is made."""
        site = make_site()
        site.app.debug = True
        with site.app.app_context():
            ticket = site.hub.ticket(user="alice", channels=["one"])
        path = f"/events?channel=two&ticket={ticket}"
        assert (
            "name it in ticket(channels=...)" in ask(site, "GET", path, None, {}).text
        )

    @pytest.mark.parametrize("debug", [True, False])
    @pytest.mark.parametrize(
        ("path", "remedy"),
        [
            ("/events/", "leave out the slash at the end"),
            ("/events/publish", "publishing over HTTP needs SSE_HUB_PUBLISH_TOKENS"),
            (
                "/events/x",
                "it has /events, ",
            ),
        ],
    )
    def test_a_path_without_an_endpoint(
        self, make_site: MakeSite, path: str, remedy: str, debug: bool
    ) -> None:
        """Out of debug mode the answer tells nobody how the hub is configured."""
        site = make_site()
        site.app.debug = debug
        text = ask(site, "GET", path, None, {}).text
        assert text.startswith(f"the hub has no endpoint {path!r}")
        assert (remedy in text) is debug

    @pytest.mark.parametrize("debug", [True, False])
    def test_a_missing_login(self, make_site: MakeSite, debug: bool) -> None:
        """A first app often has no login yet."""
        site = make_site()
        site.app.debug = debug
        text = ask(site, "GET", "/events", None, {}).text
        assert text.startswith("log in to open this stream")
        assert ("SSE_HUB_LOGIN_REQUIRED = False" in text) is debug

    @pytest.mark.parametrize("debug", [True, False])
    def test_too_many_streams(self, make_site: MakeSite, debug: bool) -> None:
        """A developer reaches a limit with a few tabs."""
        site = make_site(max_clients_per_user=1, on_user_limit="refuse")
        site.app.debug = debug
        site.browser("alice").stream().next("connected")
        headers = PROGRAMS["the browser client"]
        answer = ask(site, "GET", "/events", "alice", headers)
        assert answer.status_code == 429
        assert ("SSE_HUB_MAX_CLIENTS_PER_USER" in answer.json["error"]) is debug


def _manager(site: Site) -> LoginManager:
    manager: LoginManager = site.app.login_manager  # type: ignore[attr-defined]
    return manager
