"""The opening request: later checks run as if they were the request that opened."""

import sys
from typing import Any

import pytest
from flask import Flask, Request, Response, g, request, session
from flask.sessions import SecureCookieSessionInterface
from flask_login import current_user
from werkzeug.test import create_environ

from flask_sse_hub.auth.opening_request import OpeningRequests
from tests.conftest import MakeSite, Site, User
from tests.kit.hand import fields
from tests.kit.reader import wait_until
from tests.unit.auth.conftest import INTERVAL, manager_of, reasons


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app that checks users and channels again at a very short interval."""
    return make_site(revalidate_interval=INTERVAL, public_channels=["news"])


class TestTheOpeningRequest:
    """Loaders and rules run with the headers and cookies of the stream's request."""

    def test_a_loader_may_read_the_session_and_the_request(self, site: Site) -> None:
        """Each stream is asked about with the values of its own request."""
        seen: set[tuple[str, str, str, str]] = set()

        @manager_of(site).user_loader  # type: ignore[untyped-decorator]
        def load(name: str) -> User:
            assert session["_user_id"] == name
            seen.add((request.method, request.path, request.headers["X-Tenant"], name))
            return User(name)

        for name in ("alice", "bob"):
            browser = site.browser(name)
            stream = browser.stream(headers={"X-Tenant": f"{name}'s"})
            stream.next("connected")
        seen.clear()
        wait_until(lambda: len(seen) == 2)
        assert seen == {
            ("GET", "/events", "alice's", "alice"),
            ("GET", "/events", "bob's", "bob"),
        }
        assert reasons(site) == {}

    def test_a_rule_may_read_the_request_and_the_current_user(self, site: Site) -> None:
        """Streams of one session are told apart by their URLs."""
        seen: set[tuple[str, str]] = set()

        @site.app.get("/room/<name>/sse")
        def room(name: str) -> Response:
            return site.hub.stream(name, still_allowed=still_allowed)

        def still_allowed(user: Any, channel: str) -> bool:
            assert current_user.get_id() == user.get_id()
            assert request.view_args == {"name": channel}
            seen.add((request.args["as"], channel))
            return True

        browser = site.browser("alice")
        for name in ("a", "b"):
            browser.stream(f"/room/{name}/sse?as=guest").next("connected")
        wait_until(lambda: len(seen) == 2)
        assert seen == {("guest", "a"), ("guest", "b")}
        assert reasons(site) == {}

    def test_a_loader_that_needs_more_is_told_at_the_first_stream(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its users are checked by a reconnect, so that revocation goes on."""

        @site.app.before_request
        def tenant() -> None:
            g.tenant = "acme"

        @manager_of(site).user_loader  # type: ignore[untyped-decorator]
        def load(name: str) -> User:
            assert g.tenant == "acme"
            return User(name)

        browser = site.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        assert caplog.text.count("nothing that before_request sets") == 1
        stream.wait_for_end()
        wait_until(lambda: reasons(site) == {"age": 1})
        browser.stream().next("connected")
        assert caplog.text.count("nothing that before_request sets") == 1

    def test_a_request_loader_may_read_the_user_that_it_loaded(
        self, site: Site
    ) -> None:
        """Flask-Security's does, if a decorator has called it in the same request."""

        @manager_of(site).request_loader  # type: ignore[untyped-decorator]
        def load(_: object) -> User:
            if "authn_via" in g:
                loaded: User = g._login_user
                return loaded
            g.authn_via = "token"
            return User("robot")

        @site.app.get("/mine")
        def mine() -> Response:
            assert current_user.is_authenticated
            return site.hub.stream("mine")

        stream = site.browser().stream("/mine")
        assert fields(stream.next())["user_id"] == "robot"

    def test_little_is_kept_of_it(self) -> None:
        """Streams of equal browsers share everything but the cookies and the URL."""
        requests = OpeningRequests()
        kept = []
        for number in range(2):
            environ = create_environ(
                f"/events?channel={number}",
                headers={
                    "Cookie": f"session={number}",
                    "User-Agent": "a browser" * 20,
                    "Accept": "text/event-stream",
                    "Sec-Fetch-Mode": "cors",
                },
            )
            kept.append(requests.keep(environ | {"wsgi.multiprocess": True}))
        first, second = kept
        assert first.common is second.common
        assert sys.getsizeof(first) + sys.getsizeof(first.own) < 150
        environ = second.environ()
        assert environ["wsgi.multiprocess"]
        assert not environ["wsgi.run_once"]
        asked = Request(environ)
        assert asked.url == "http://localhost/events?channel=1"
        assert dict(asked.cookies) == {"session": "1"}
        assert asked.user_agent.string == "a browser" * 20
        assert "Accept" not in asked.headers
        assert "Authorization" not in asked.headers
        assert asked.data == b""

    def test_a_line_end_in_a_path_forges_nothing(self) -> None:
        """The kept variables are separated by line ends."""
        environ = create_environ("/a%0AHTTP_COOKIE%0Asession=1")
        kept = OpeningRequests().keep(environ).environ()
        assert "HTTP_COOKIE" not in kept


class MiddlewareSessions(SecureCookieSessionInterface):
    """Sessions that a middleware prepares for each request, as Beaker does."""

    def open_session(self, app: Flask, request: Request) -> Any:
        assert request.environ["middleware.ready"]
        return super().open_session(app, request)


def test_a_session_that_needs_a_middleware_does_not_break_the_request(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot be opened again, so the stream ends after the interval instead."""
    site.app.session_interface = MiddlewareSessions()
    inner = site.app.wsgi_app

    def prepare(environ: Any, start_response: Any) -> Any:
        environ["middleware.ready"] = True
        return inner(environ, start_response)

    site.app.wsgi_app = prepare  # type: ignore[method-assign]
    stream = site.browser("alice").stream()
    stream.next("connected")
    assert "nothing that a middleware adds" in caplog.text
    stream.wait_for_end()
