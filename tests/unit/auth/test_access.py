"""Access: the rules that a stream must pass when it opens and while it is open."""

from datetime import timedelta
from typing import Any

import pytest
from flask import (
    Response,
    abort,
    has_app_context,
    has_request_context,
    jsonify,
    redirect,
    request,
)
from flask.sessions import SessionInterface, SessionMixin
from flask_login import login_user
from flask_login.signals import user_unauthorized
from werkzeug.exceptions import Forbidden

from tests.conftest import MakeSite, Site, User
from tests.kit.hand import fields
from tests.kit.reader import StreamReader, wait_until
from tests.unit.auth.conftest import INTERVAL, People, bearer, manager_of, reasons


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app that checks users and channels again at a very short interval."""
    return make_site(revalidate_interval=INTERVAL, public_channels=["news"])


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


def test_streams_share_the_rule_for_other_channels(site: Site) -> None:
    """A bound method of its own would cost each idle stream 64 bytes."""
    for name in ("alice", "bob"):
        site.browser(name).stream().next("connected")
    first, second = site.app.extensions["sse_hub"].hub.clients()
    assert first.regrant is second.regrant is not None


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
