"""Access: the rules that a stream must pass when it opens and while it is open."""

import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import (
    Flask,
    Request,
    Response,
    abort,
    g,
    has_app_context,
    has_request_context,
    jsonify,
    redirect,
    request,
    session,
)
from flask.sessions import (
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
)
from flask_login import current_user, login_user
from flask_login.signals import user_unauthorized
from werkzeug.exceptions import Forbidden
from werkzeug.test import create_environ

from flask_sse_hub.auth.opening_request import OpeningRequests
from tests.conftest import MakeSite, Site, User
from tests.kit.hand import fields
from tests.kit.reader import StreamReader, wait_until

# Short, because the tests wait until the interval has passed.
INTERVAL = 0.2


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app that checks users and channels again at a very short interval."""
    return make_site(revalidate_interval=INTERVAL, public_channels=["news"])


class People:
    """The users that exist, as a database knows them."""

    def __init__(self, site: Site) -> None:
        self.names = {"alice", "bob"}
        #: Called each time that a user is loaded.
        self.at_load: Callable[[], object] = int
        self.loads = 0
        self._lock = threading.Lock()
        manager_of(site).user_loader(self.load)

    def load(self, name: str) -> User | None:
        with self._lock:
            self.loads += 1
        self.at_load()
        return User(name) if name in self.names else None

    def wait_until_loaded(self) -> None:
        """Wait until every user with an open stream has been loaded again."""
        before = self.loads
        wait_until(lambda: self.loads >= before + 3)


@pytest.fixture
def people(site: Site) -> People:
    return People(site)


def manager_of(site: Site) -> Any:
    return site.app.login_manager  # type: ignore[attr-defined]


def reasons(site: Site) -> dict[str, int]:
    return dict(site.hub.stats().closed)


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


class TestUsers:
    def test_a_deleted_user_loses_the_stream(self, site: Site, people: People) -> None:
        """Other users keep theirs. A deleted user's browser returns to a 401."""
        ann, ben = site.browser("alice"), site.browser("bob")
        hers, his = ann.stream(), ben.stream()
        hers.next("connected")
        his.next("connected")
        people.names = {"bob"}
        hers.wait_for_end()
        wait_until(lambda: reasons(site) == {"revoked": 1})
        assert ann.get().status_code == 401
        people.wait_until_loaded()
        site.hub.publish("still here")
        assert his.data(1) == ["still here"]

    def test_a_locked_user_loses_the_stream(self, site: Site) -> None:
        """Flask-Login's is_active decides whether a user is locked."""
        locked: set[str] = set()

        class Lockable(User):
            @property
            def is_active(self) -> bool:
                return self.id not in locked

        manager_of(site).user_loader(Lockable)
        browser = site.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        locked.add("alice")
        stream.wait_for_end()
        assert browser.get().status_code == 401

    def test_streams_stay_open_while_the_database_is_away(
        self, site: Site, people: People
    ) -> None:
        """A failed load does not show that the user may no longer listen."""

        def fail() -> None:
            raise OSError("the database is away")

        browser = site.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        people.at_load = fail
        people.wait_until_loaded()
        people.at_load = int
        site.hub.publish("still here")
        assert stream.data(1) == ["still here"]

    def test_a_user_is_loaded_in_an_app_context_that_ends(
        self, site: Site, people: People
    ) -> None:
        """A database session returns to its pool."""
        contexts: list[tuple[bool, bool]] = []
        ended: list[object] = []
        site.app.teardown_appcontext(ended.append)
        site.browser("alice").stream().next("connected")
        ended.clear()
        people.at_load = lambda: contexts.append(
            (has_app_context(), has_request_context())
        )
        wait_until(lambda: len(ended) >= 2)
        assert set(contexts) == {(True, True)}

    def test_a_remember_me_cookie_is_a_login(self, site: Site, people: People) -> None:
        """The cookie alone opens a stream. Its user is loaded again as usual."""

        @site.app.post("/remember/<name>")
        def remember(name: str) -> str:
            login_user(User(name), remember=True)
            return "in"

        browser = site.browser()
        browser.client.post("/remember/alice")
        browser.client.delete_cookie("session")
        stream = browser.stream()
        assert fields(stream.next())["user_id"] == "alice"
        people.names = set()
        stream.wait_for_end()
        assert browser.get().status_code == 401

    def test_strong_session_protection_refuses_another_browser(
        self, site: Site
    ) -> None:
        """Flask-Login discards a session whose User-Agent has changed."""
        manager_of(site).session_protection = "strong"
        site.app.config["SESSION_PROTECTION"] = "strong"
        browser = site.browser("alice")
        browser.stream().next("connected")
        assert browser.get(headers={"User-Agent": "another"}).status_code == 401


class TestUsersOfARequestLoader:
    """Users with bearer tokens, which only the request carries."""

    @pytest.fixture(autouse=True)
    def tokens(self, site: Site) -> None:
        @manager_of(site).request_loader  # type: ignore[untyped-decorator]
        def load(_: object) -> User | None:
            token = request.authorization and request.authorization.token
            return User(token) if token else None

    def open(self, site: Site) -> StreamReader:
        stream = site.browser().stream(headers=bearer("robot"))
        assert fields(stream.next())["user_id"] == "robot"
        return stream

    def test_a_stream_of_a_bearer_token_lives_for_one_interval(
        self, site: Site
    ) -> None:
        """The client then reconnects and shows its token again."""
        self.open(site).wait_for_end()
        wait_until(lambda: reasons(site) == {"age": 1})
        self.open(site)

    def test_a_stream_stays_open_if_the_app_can_reload_its_user(
        self, site: Site
    ) -> None:
        """The app registers a loader for such users with reload_user."""
        known = {"robot"}
        asked: list[str] = []

        @site.hub.reload_user
        def reload(user_id: str) -> User | None:
            asked.append(user_id)
            return User(user_id) if user_id in known else None

        stream = self.open(site)
        wait_until(lambda: len(asked) >= 3)
        assert set(asked) == {"robot"}
        assert reasons(site) == {}
        known.clear()
        stream.wait_for_end()
        wait_until(lambda: reasons(site) == {"revoked": 1})

    def test_flask_logins_loader_is_not_called_for_bearer_tokens(
        self, site: Site
    ) -> None:
        """The loader would find the user, although the token was revoked."""
        people = People(site)
        people.names.add("robot")
        self.open(site).wait_for_end()
        assert people.loads == 0


class TestChannels:
    def test_a_user_who_may_no_longer_listen_loses_the_stream(
        self, site: Site, people: People
    ) -> None:
        """The rule is asked again. The user's browser receives a 403 on return."""
        teams = {"alice"}
        site.hub.authorize_channel(lambda user, channel: user.get_id() in teams)
        browser = site.browser("alice")
        stream = browser.stream("/events?channel=team&channel=news")
        other = site.browser("alice").stream("/events?channel=news")
        stream.next("connected")
        other.next("connected")
        teams.clear()
        stream.wait_for_end()
        wait_until(lambda: reasons(site) == {"revoked": 1})
        assert browser.get("/events?channel=team").status_code == 403
        people.wait_until_loaded()
        site.hub.publish("still here", channel="news")
        assert other.data(1) == ["still here"]

    def test_a_channel_that_a_view_granted_is_not_checked_again(
        self, site: Site, people: People
    ) -> None:
        """The view's rule may have needed the request."""
        stream = site.browser("alice").stream("/dashboard/sse")
        stream.next("connected")
        people.wait_until_loaded()
        site.hub.publish("still here", channel="dashboard")
        assert stream.data(1) == ["still here"]

    def test_a_view_can_have_its_channels_checked_again(self, site: Site) -> None:
        """still_allowed receives the reloaded user and each channel."""
        asked: list[tuple[str, str]] = []
        allowed = True

        def still_allowed(user: Any, channel: str) -> bool:
            asked.append((user.get_id(), channel))
            return allowed

        @site.app.get("/team/sse")
        def team() -> Response:
            return site.hub.stream("a", "b", still_allowed=still_allowed)

        stream = site.browser("alice").stream("/team/sse")
        stream.next("connected")
        wait_until(lambda: len(asked) >= 4)
        assert set(asked) == {("alice", "a"), ("alice", "b")}
        allowed = False
        stream.wait_for_end()

    def test_channels_of_anonymous_users_are_checked_again(
        self, make_site: MakeSite
    ) -> None:
        """The rule receives Flask-Login's anonymous user, or None without it."""
        for login in (True, False):
            site = make_site(
                revalidate_interval=INTERVAL, login_required=False, login=login
            )
            asked: list[Any] = []

            @site.hub.authorize_channel
            def rule(user: Any, channel: str, asked: Any = asked) -> bool:
                asked.append(user)
                return len(asked) < 3

            site.browser().stream("/events?channel=offers").wait_for_end()
            if login:
                assert all(user.is_anonymous for user in asked)
            else:
                assert set(asked) == {None}


class TestRefusalsThatAreRaised:
    """Rules and loaders may refuse with abort(403) or get_or_404(), as views do."""

    @pytest.mark.parametrize("code", [401, 403, 404, 410])
    def test_a_rule_may_refuse_by_raising(self, site: Site, code: int) -> None:
        """The raised refusal counts as a refusal and not as a failure of the rule."""
        allowed = True

        @site.hub.authorize_channel
        def rule(user: Any, channel: str) -> bool:
            return allowed or abort(code)

        stream = site.browser("alice").stream("/events?channel=team")
        stream.next("connected")
        allowed = False
        stream.wait_for_end()
        wait_until(lambda: reasons(site) == {"revoked": 1})

    def test_a_loader_may_refuse_by_raising(self, site: Site, people: People) -> None:
        """A 404 from the loader means that the user no longer exists."""
        stream = site.browser("alice").stream()
        stream.next("connected")
        people.at_load = lambda: abort(404)
        stream.wait_for_end()

    def test_a_raised_server_error_is_no_refusal(
        self, site: Site, people: People
    ) -> None:
        """A 503 from the loader does not show that the user is gone."""
        stream = site.browser("alice").stream()
        stream.next("connected")
        people.at_load = lambda: abort(503)
        people.wait_until_loaded()
        people.at_load = int
        site.hub.publish("still here")
        assert stream.data(1) == ["still here"]


def test_a_failing_rule_keeps_no_other_stream_open(site: Site) -> None:
    """The user's other streams are still checked when one stream's rule raises."""
    allowed = True
    site.hub.authorize_channel(lambda user, channel: allowed)

    def fail(*_: Any) -> bool:
        raise OSError("a bug in the app")

    @site.app.get("/own/sse")
    def own() -> Response:
        return site.hub.stream("own", still_allowed=fail)

    browser = site.browser("alice")
    failing = browser.stream("/own/sse")
    failing.next("connected")
    stream = browser.stream("/events?channel=team")
    stream.next("connected")
    allowed = False
    stream.wait_for_end()
    site.hub.publish("still here")
    assert failing.data(1) == ["still here"]


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
        assert sys.getsizeof(first) + sys.getsizeof(first.own) < 300
        environ = second.environ()
        assert environ["wsgi.multiprocess"]
        assert not environ["wsgi.run_once"]
        asked = Request(environ)
        assert asked.url == "http://localhost/events?channel=1"
        assert dict(asked.cookies) == {"session": "1"}
        assert asked.user_agent.string == "a browser" * 20
        assert "Accept" not in asked.headers
        assert asked.data == b""

    def test_a_line_end_in_a_path_forges_nothing(self) -> None:
        """The kept variables are separated by line ends."""
        environ = create_environ("/a%0AHTTP_COOKIE%0Asession=1")
        kept = OpeningRequests().keep(environ).environ()
        assert "HTTP_COOKIE" not in kept


class TestTheSessionsEnd:
    def test_a_stream_ends_when_the_sessions_cookie_expires(
        self, make_site: MakeSite
    ) -> None:
        """A page with the same cookie is signed out then."""
        site = make_site()
        lifetime = timedelta(seconds=100)
        site.app.config["PERMANENT_SESSION_LIFETIME"] = lifetime
        browser = site.browser("alice")
        browser.stream().next("connected")
        state = site.app.extensions["sse_hub"]
        (client,) = state.hub.clients()
        left = client.ends_at - state.hub.clock()
        assert 0.0 < left <= 101.0

    def test_a_session_that_a_store_has_forgotten_ends_its_streams(
        self, site: Site
    ) -> None:
        """The store is asked again with the cookie of the stream's request."""
        stored: dict[str, Any] = {}

        class Session(dict[str, Any], SessionMixin):
            pass

        class Store(SessionInterface):
            def open_session(self, app: Any, request: Any) -> Any:
                sid = request.cookies.get("sid")
                return Session(stored.get(sid, {}), sid=sid or str(len(stored)))

            def save_session(self, app: Any, session: Any, response: Any) -> None:
                stored[session["sid"]] = dict(session)
                response.set_cookie("sid", session["sid"])

        site.app.session_interface = Store()
        streams = [site.browser(name).stream() for name in ("alice", "bob")]
        for stream in streams:
            stream.next("connected")
        (sid,) = (s for s, found in stored.items() if found["_user_id"] == "alice")
        del stored[sid]
        streams[0].wait_for_end()
        wait_until(lambda: reasons(site) == {"revoked": 1})
        site.hub.publish("still here")
        assert streams[1].data(1) == ["still here"]


class TestTickets:
    def test_the_user_of_a_ticket_is_loaded_again(
        self, site: Site, people: People
    ) -> None:
        """A deleted user's ticket stops working; its channels are not checked again."""
        with site.app.app_context():
            ticket = site.hub.ticket(user="alice", channels=["orders"])
        stream = site.browser().stream(f"/events?ticket={ticket}")
        stream.next("connected")
        people.wait_until_loaded()
        site.hub.publish("still here", channel="orders")
        assert stream.data(1) == ["still here"]
        people.names = set()
        stream.wait_for_end()
        assert site.browser().get(f"/events?ticket={ticket}").status_code == 401


class TestTheAppsOwnRefusal:
    """Flask-Login's handler for requests that need a login."""

    @pytest.fixture(params=["/events", "/dashboard/sse"])
    def url(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found

    def test_its_response_is_used(self, site: Site, url: str) -> None:
        """The response keeps its body and status, and Flask-Login's signal is sent."""
        told: list[object] = []
        user_unauthorized.connect(told.append, sender=site.app, weak=False)
        manager_of(site).unauthorized_handler(
            lambda: (jsonify(error="who are you?"), 401)
        )
        response = site.browser().get(url)
        assert (response.status_code, response.json) == (401, {"error": "who are you?"})
        assert told == [site.app]

    def test_a_refusal_that_it_raises_is_used(self, site: Site, url: str) -> None:
        """The handler may refuse with abort()."""

        def refuse() -> None:
            raise Forbidden("members only")

        manager_of(site).unauthorized_handler(refuse)
        response = site.browser().get(url)
        assert response.status_code == 403
        assert "members only" in response.text

    def test_a_redirect_becomes_a_401(self, site: Site, url: str) -> None:
        """A login page is no stream: an EventSource would report a broken stream."""
        manager_of(site).unauthorized_handler(lambda: redirect("/login"))
        assert site.browser().get(url).status_code == 401

    def test_a_stream_request_is_not_sent_to_the_login_page(
        self, site: Site, url: str
    ) -> None:
        """The user is shown no login message later either."""
        manager_of(site).login_view = "login"
        assert site.browser().get(url).status_code == 401


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
