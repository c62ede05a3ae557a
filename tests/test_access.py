"""Access: who may listen to what, when a stream opens and while it is open."""

import threading
from collections.abc import Callable
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
from flask_login import login_user
from flask_login.signals import user_unauthorized
from werkzeug.exceptions import Forbidden

from tests.conftest import MakeSite, Site, User
from tests.hand import fields
from tests.reader import StreamReader, wait_until

# Short enough that a test sees it pass.
INTERVAL = 0.2


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app that asks again all the time, and never lets a test end by age."""
    return make_site(revalidate_interval=INTERVAL, public_channels=["news"])


class People:
    """The users there are, as a database knows them."""

    def __init__(self, site: Site) -> None:
        self.names = {"alice", "bob"}
        #: Called at each load of a user.
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
        """Wait until everybody who listens has been asked about again."""
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
    def test_who_is_deleted_loses_the_stream(self, site: Site, people: People) -> None:
        """Nobody else does; a browser that comes back is told for good."""
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

    def test_who_is_locked_does_too(self, site: Site) -> None:
        """Flask-Login's is_active decides."""
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

    def test_a_database_that_is_away_signs_nobody_out(
        self, site: Site, people: People
    ) -> None:
        """It is not known that they may not listen."""

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
        """So a database session goes back to its pool; there is no request."""
        contexts: list[tuple[bool, bool]] = []
        ended: list[object] = []
        site.app.teardown_appcontext(ended.append)
        site.browser("alice").stream().next("connected")
        ended.clear()
        people.at_load = lambda: contexts.append(
            (has_app_context(), has_request_context())
        )
        wait_until(lambda: len(ended) >= 2)
        assert set(contexts) == {(True, False)}

    def test_remember_me_is_a_login(self, site: Site, people: People) -> None:
        """Its cookie alone opens a stream, which is asked about like any other."""

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

    def test_a_session_of_another_browser_is_none(self, site: Site) -> None:
        """Where Flask-Login protects sessions strongly."""
        manager_of(site).session_protection = "strong"
        site.app.config["SESSION_PROTECTION"] = "strong"
        browser = site.browser("alice")
        browser.stream().next("connected")
        assert browser.get(headers={"User-Agent": "another"}).status_code == 401


class TestUsersOfARequestLoader:
    """Bearer tokens, of which only the request knew."""

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

    def test_their_streams_live_for_one_interval(self, site: Site) -> None:
        """Then they come back, and show their token again."""
        self.open(site).wait_for_end()
        wait_until(lambda: reasons(site) == {"age": 1})
        self.open(site)

    def test_unless_the_app_can_load_them_again(self, site: Site) -> None:
        """By the function that it registers for that."""
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

    def test_flask_logins_loader_is_not_asked_about_them(self, site: Site) -> None:
        """It would find the user, whose token was taken back."""
        people = People(site)
        people.names.add("robot")
        self.open(site).wait_for_end()
        assert people.loads == 0


class TestChannels:
    def test_who_may_no_longer_listen_loses_the_stream(
        self, site: Site, people: People
    ) -> None:
        """The rule is asked again; the browser that comes back is told for good."""
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

    def test_what_a_view_granted_is_not_asked_about(
        self, site: Site, people: People
    ) -> None:
        """Its rule may have needed the request."""
        stream = site.browser("alice").stream("/dashboard/sse")
        stream.next("connected")
        people.wait_until_loaded()
        site.hub.publish("still here", channel="dashboard")
        assert stream.data(1) == ["still here"]

    def test_unless_it_says_how(self, site: Site) -> None:
        """With the user as loaded again, and each channel."""
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

    def test_anonymous_ones_are_asked_about_too(self, make_site: MakeSite) -> None:
        """With whatever stands for nobody."""
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
    """By abort(403) or get_or_404(), as in a view."""

    @pytest.mark.parametrize("code", [401, 403, 404, 410])
    def test_a_rule_may_say_no_so(self, site: Site, code: int) -> None:
        """It is no failure."""
        allowed = True

        @site.hub.authorize_channel
        def rule(user: Any, channel: str) -> bool:
            return allowed or abort(code)

        stream = site.browser("alice").stream("/events?channel=team")
        stream.next("connected")
        allowed = False
        stream.wait_for_end()
        wait_until(lambda: reasons(site) == {"revoked": 1})

    def test_a_loader_too(self, site: Site, people: People) -> None:
        """There is no such user any more."""
        stream = site.browser("alice").stream()
        stream.next("connected")
        people.at_load = lambda: abort(404)
        stream.wait_for_end()

    def test_that_nothing_is_known_is_no_answer(
        self, site: Site, people: People
    ) -> None:
        """Neither is an error of the server."""
        stream = site.browser("alice").stream()
        stream.next("connected")
        people.at_load = lambda: abort(503)
        people.wait_until_loaded()
        people.at_load = int
        site.hub.publish("still here")
        assert stream.data(1) == ["still here"]


def test_a_rule_that_fails_keeps_no_other_stream_open(site: Site) -> None:
    """One that needs a request, for one: the user's other streams are judged."""
    allowed = True
    site.hub.authorize_channel(lambda user, channel: allowed)

    @site.app.get("/own/sse")
    def own() -> Response:
        return site.hub.stream("own", still_allowed=lambda *_: "x" not in request.args)

    browser = site.browser("alice")
    failing = browser.stream("/own/sse")
    failing.next("connected")
    stream = browser.stream("/events?channel=team")
    stream.next("connected")
    allowed = False
    stream.wait_for_end()
    site.hub.publish("still here")
    assert failing.data(1) == ["still here"]


class TestTickets:
    def test_their_users_are_loaded_again(self, site: Site, people: People) -> None:
        """A ticket outlives nobody; what it granted is not asked about."""
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
    """What Flask-Login calls where a login is needed."""

    @pytest.fixture(params=["/events", "/dashboard/sse"])
    def url(self, request: pytest.FixtureRequest) -> str:
        found: str = request.param
        return found

    def test_its_answer_is_used(self, site: Site, url: str) -> None:
        """Body, status and all; and its signal is sent."""
        told: list[object] = []
        user_unauthorized.connect(told.append, sender=site.app, weak=False)
        manager_of(site).unauthorized_handler(
            lambda: (jsonify(error="who are you?"), 401)
        )
        response = site.browser().get(url)
        assert (response.status_code, response.json) == (401, {"error": "who are you?"})
        assert told == [site.app]

    def test_also_one_that_it_raises(self, site: Site, url: str) -> None:
        """As abort() does."""

        def refuse() -> None:
            raise Forbidden("members only")

        manager_of(site).unauthorized_handler(refuse)
        response = site.browser().get(url)
        assert response.status_code == 403
        assert "members only" in response.text

    def test_but_a_redirect_is_none(self, site: Site, url: str) -> None:
        """A login page is no stream: an EventSource would see that it is broken."""
        manager_of(site).unauthorized_handler(lambda: redirect("/login"))
        assert site.browser().get(url).status_code == 401

    def test_nobody_is_sent_to_the_login_page(self, site: Site, url: str) -> None:
        """Nor shown a message of it later."""
        manager_of(site).login_view = "login"
        assert site.browser().get(url).status_code == 401
