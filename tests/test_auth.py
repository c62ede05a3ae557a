"""Who may listen: logins, sessions, client ids and channels."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Response, request, session
from flask_login import (
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
)

from flask_sse_hub import ConfigurationError
from flask_sse_hub.hub.control import ControlSender
from flask_sse_hub.hub.delivery.history import Record
from tests.conftest import Browser, MakeSite, Site, User
from tests.hand import fields
from tests.reader import StreamReader, wait_until


class TestLogin:
    def test_a_stream_needs_a_login(self, site: Site) -> None:
        """401, which ends an EventSource for good."""
        assert site.browser().get().status_code == 401

    @pytest.mark.parametrize("name", ["locked", "deleted"])
    def test_a_user_who_is_gone_or_inactive_has_none(
        self, site: Site, name: str
    ) -> None:
        """A cookie alone is no login."""
        assert site.browser(name).get().status_code == 401

    def test_without_flask_login_the_error_says_what_to_do(
        self, make_site: MakeSite
    ) -> None:
        """By the time of the first stream, not before."""
        bare = make_site(login=False)
        with pytest.raises(ConfigurationError, match="SSE_HUB_LOGIN_REQUIRED = False"):
            bare.browser().get()

    def test_anonymous_streams_where_they_are_allowed(
        self, make_site: MakeSite
    ) -> None:
        """With and without Flask-Login."""
        for login in (True, False):
            site = make_site(login=login, login_required=False)
            connected = site.browser().stream().next("connected")
            assert fields(connected)["user_id"] is None

    def test_the_stream_follows_who_is_logged_in(self, site: Site) -> None:
        """publish(user=...) reaches exactly that person's streams."""
        browser = site.browser("alice")
        assert fields(browser.stream().next())["user_id"] == "alice"
        browser.login("bob")
        assert fields(browser.stream().next())["user_id"] == "bob"

    def test_the_user_is_loaded_after_the_logs_head_was_noted(self, site: Site) -> None:
        """Somebody loaded earlier in the request may have been shut out since."""
        loads: list[str] = []
        manager = site.app.login_manager  # type: ignore[attr-defined]

        @manager.user_loader  # type: ignore[untyped-decorator]
        def load(name: str) -> User | None:
            loads.append(name)
            return User(name) if len(loads) < 2 else None

        @site.app.before_request
        def touch() -> None:
            assert current_user.is_authenticated is not None

        browser = site.browser()
        with browser.client.session_transaction() as cookie:
            cookie["_user_id"] = "alice"
        assert browser.get().status_code == 401
        assert loads == ["alice", "alice"]

    def test_a_bearer_of_a_request_loader_has_a_stream(self, site: Site) -> None:
        """Tokens of the app's own are logins like any other."""
        manager = site.app.login_manager  # type: ignore[attr-defined]
        manager.request_loader(
            lambda request: User("robot") if request.authorization else None
        )
        headers = {"Authorization": "Bearer token"}
        stream = site.browser().stream(headers=headers)
        assert fields(stream.next())["user_id"] == "robot"


class TestSessions:
    def test_logging_out_ends_the_streams_of_that_session(self, site: Site) -> None:
        """The same person's streams elsewhere go on."""
        here, there = site.browser("alice"), site.browser("alice")
        mine, other = here.stream(), there.stream()
        mine.next("connected")
        other.next("connected")
        here.logout()
        mine.wait_for_end()
        site.hub.publish("still here", user="alice")
        assert other.data(1) == ["still here"]
        wait_until(lambda: site.hub.stats().closed == {"session_ended": 1})
        assert here.get().status_code == 401

    def test_a_session_without_an_id_ends_all_of_the_users_streams(
        self, site: Site
    ) -> None:
        """It cannot be told which are its own."""
        streams = [site.browser("alice").stream() for _ in range(2)]
        for stream in streams:
            stream.next("connected")
        old = site.browser()
        with old.client.session_transaction() as cookie:
            cookie["_user_id"] = "alice"
        old.logout()
        for stream in streams:
            stream.wait_for_end()

    def test_a_stream_of_a_session_without_an_id_ends_with_any_logout(
        self, site: Site
    ) -> None:
        """A login from before the extension was installed is not forgotten."""
        old = site.browser()
        with old.client.session_transaction() as cookie:
            cookie["_user_id"] = "alice"
        unnamed = old.stream()
        unnamed.next("connected")
        site.browser("alice").logout()
        unnamed.wait_for_end()

    def test_logging_in_ends_what_was_opened_before(self, make_site: MakeSite) -> None:
        """The page of an anonymous visitor comes back as the person."""
        site = make_site(login_required=False)
        browser = site.browser()
        browser.page()
        stream = browser.stream()
        assert fields(stream.next())["user_id"] is None
        browser.login("alice")
        stream.wait_for_end()

    def test_the_id_is_replaced_at_login_and_logout(self, site: Site) -> None:
        """An event for the session of before reaches nobody."""
        browser = site.browser()
        ids = [browser.page()["session"]]
        browser.login("alice")
        ids.append(browser.page()["session"])
        browser.logout()
        ids.append(browser.page()["session"])
        assert len(set(ids)) == 3
        assert browser.page()["session"] == ids[-1]

    @pytest.mark.parametrize("login_required", [True, False])
    def test_a_strangers_logout_is_an_entry_of_the_log_only_if_it_has_to_be(
        self,
        make_site: MakeSite,
        monkeypatch: pytest.MonkeyPatch,
        login_required: bool,
    ) -> None:
        """Where nobody listens without a login it would only push out events."""
        sent: list[Record] = []
        monkeypatch.setattr(
            ControlSender, "send", lambda _, record: sent.append(record)
        )
        stranger = make_site(login_required=login_required).browser()
        stranger.page()
        stranger.logout()
        assert len(sent) == (0 if login_required else 1)

    def test_logging_out_as_nobody_ends_nothing(self, site: Site) -> None:
        """A second click on the button is no error."""
        stream = site.browser("alice").stream()
        stream.next("connected")
        site.browser().logout()
        site.hub.publish("still here")
        assert stream.data(1) == ["still here"]

    def test_a_stream_sets_no_cookie(self, site: Site) -> None:
        """A stream that reconnects for ever would keep a session alive for ever."""

        @site.app.before_request
        def touch() -> None:
            session["seen"] = True
            session.permanent = True

        browser = site.browser("alice")
        response = browser.get()
        assert "Set-Cookie" not in response.headers
        site.read(response).next("connected")
        assert "Set-Cookie" in browser.get("/page").headers

    def test_nor_in_an_app_with_a_response_class_of_its_own(self, site: Site) -> None:
        """Flask makes any other response one of that class, and of nothing else."""

        class OwnResponse(Response):
            pass

        @site.app.before_request
        def touch() -> None:
            session["seen"] = True

        site.app.response_class = OwnResponse
        response = site.browser("alice").get()
        assert "Set-Cookie" not in response.headers
        stream = site.read(response)
        stream.next("connected")
        # Nothing is wrapped around it, which could not be closed while it waits.
        stream.close()
        wait_until(lambda: not site.hub.stats().clients)


class TestSessionsThatReviewsFound:
    """Faults that were seen once, each provoked as it was found."""

    def test_a_logout_while_the_request_is_on_its_way(self, site: Site) -> None:
        """The stream request carries the session of before; it gets nothing."""
        held = site.browser("alice")
        logout = site.browser()
        with (
            held.client.session_transaction() as cookie,
            logout.client.session_transaction() as copy,
        ):
            copy.update(cookie)
        logout.logout()
        stream = held.stream()
        stream.wait_for_end()
        site.hub.publish("secret", user="alice")
        assert stream.events == []

    def test_a_login_over_a_session_without_an_id_ends_its_streams(
        self, site: Site
    ) -> None:
        """Somebody else sits down at the same browser."""
        browser = site.browser()
        with browser.client.session_transaction() as cookie:
            cookie["_user_id"] = "alice"
        stream = browser.stream()
        stream.next("connected")
        browser.login("bob")
        stream.wait_for_end()

    def test_logging_in_once_more_ends_nothing(self, site: Site) -> None:
        """Some apps do so at each request; it is the same person."""
        browser = site.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        before = browser.page()["session"]
        browser.login("alice")
        assert browser.page()["session"] == before
        site.hub.publish("still here")
        assert stream.data(1) == ["still here"]

    def test_a_session_that_begins_with_the_stream_ends_with_any_logout(
        self, site: Site
    ) -> None:
        """The browser never learns its id, since a stream sets no cookie."""

        @site.app.before_request
        def single_sign_on() -> None:
            if "X-User" in request.headers:
                login_user(User(request.headers["X-User"]))

        visitor = site.browser()
        visitor.page()
        streams = [
            browser.stream(headers={"X-User": "alice"})
            for browser in (site.browser(), visitor)
        ]
        for stream in streams:
            stream.next("connected")
        site.browser("alice").logout()
        for stream in streams:
            stream.wait_for_end()

    def test_an_id_of_nobody_in_particular_is_nobodys(
        self, make_site: MakeSite
    ) -> None:
        """It would be everybody's who has no session either."""
        site = make_site(login_required=False)
        first = fields(site.browser().stream().next())["client_id"]
        again = site.browser().stream(f"/events?client_id={first}").next()
        assert fields(again)["client_id"] != first

    def test_a_view_can_ask_whose_client_it_is(self, site: Site) -> None:
        """Before it acts on an id that a page has sent; JSON can say anything."""

        @site.app.post("/owns")
        def owns() -> str:
            return str(site.hub.owns_client(request.get_json()))

        ann, ben = site.browser("alice"), site.browser("bob")
        client_id = ann.page()["client"]
        assert ann.client.post("/owns", json=client_id).text == "True"
        assert ben.client.post("/owns", json=client_id).text == "False"
        for forged in ("forged", client_id + "<>", "\ud800", client_id + "\ud800"):
            assert ann.client.post("/owns", json=forged).text == "False"


def ends_alone(site: Site, stream: StreamReader, other: StreamReader) -> None:
    """Wait for the end of a stream, and see that another one goes on."""
    stream.wait_for_end()
    site.hub.publish("still here")
    assert other.data(1) == ["still here"]


class TestClearedSessions:
    """Logging out without saying so."""

    @pytest.mark.parametrize("how", ["clear", "pop"])
    @pytest.mark.parametrize("named", [True, False])
    def test_a_session_that_is_emptied_ends_its_streams(
        self, site: Site, how: str, named: bool
    ) -> None:
        """session.clear() is a common way to log somebody out."""

        @site.app.post("/empty")
        def empty() -> str:
            session.clear() if how == "clear" else session.pop("_user_id")
            return "emptied"

        browser = site.browser("alice" if named else None)
        if not named:
            with browser.client.session_transaction() as cookie:
                cookie["_user_id"] = "alice"
        stream, other = browser.stream(), site.browser("bob").stream()
        stream.next("connected")
        other.next("connected")
        browser.client.post("/empty")
        ends_alone(site, stream, other)

    def test_other_changes_of_a_session_end_nothing(self, site: Site) -> None:
        """A shopping cart is no logout."""

        @site.app.post("/cart")
        def cart() -> str:
            session["cart"] = [1, 2]
            return "added"

        browser = site.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        browser.client.post("/cart")
        site.hub.publish("still here")
        assert stream.data(1) == ["still here"]


class TestEmptiedSessions:
    """As apps do before a login or after a logout, so that no session is fixated."""

    @pytest.mark.parametrize(
        "then",
        [
            lambda site: login_user(User("bob")),
            lambda site: login_user(User("alice")),
            lambda site: logout_user(),
            lambda site: site.hub.client_id(),
            lambda site: (site.hub.session_id(), login_user(User("alice"))),
        ],
        ids=["login", "once more", "logout", "page", "page and login"],
    )
    def test_its_streams_end_whatever_comes_then(
        self, site: Site, then: Callable[[Site], object]
    ) -> None:
        """Of the session that the request came with, and of no other of that user."""

        @site.app.post("/empty")
        def empty() -> str:
            session.clear()
            then(site)
            return "emptied"

        browser = site.browser("alice")
        stream, other = browser.stream(), site.browser("alice").stream()
        stream.next("connected")
        other.next("connected")
        browser.client.post("/empty")
        ends_alone(site, stream, other)

    def test_its_tickets_and_copies_open_nothing(self, site: Site) -> None:
        """Also where the user was loaded before, as login_required does."""

        @site.app.get("/ticket")
        def ticket() -> str:
            return site.hub.ticket()

        @site.app.post("/leave")
        @login_required  # type: ignore[untyped-decorator]
        def leave() -> str:
            session.clear()
            logout_user()
            return "left"

        browser = site.browser("alice")
        url = f"/events?ticket={browser.get('/ticket').text}"
        assert browser.client.post("/leave").text == "left"
        assert site.browser().get(url).status_code == 401

    def test_another_user_who_was_written_into_it_is_a_login(self, site: Site) -> None:
        """Without a word to Flask-Login."""

        @site.app.post("/become/<name>")
        def become(name: str) -> str:
            session["_user_id"] = name
            return "become"

        browser = site.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        browser.client.post("/become/bob")
        stream.wait_for_end()


class TestRememberedLogins:
    """Their sessions begin without a login."""

    @pytest.fixture
    def remembered(self, site: Site) -> Browser:
        """Return a browser that was closed and opened again."""

        @site.app.post("/remember/<name>")
        def remember(name: str) -> str:
            login_user(User(name), remember=True)
            return "in"

        @site.app.get("/ticket")
        def ticket() -> str:
            return site.hub.ticket()

        browser = site.browser()
        browser.client.post("/remember/alice")
        browser.client.delete_cookie("session")
        return browser

    def test_a_logout_ends_what_several_pages_began(
        self, site: Site, remembered: Browser
    ) -> None:
        """Asked for at once, each of them begins a session, and one cookie is kept."""
        tab = site.browser()
        cookie = remembered.client.get_cookie("remember_token")
        assert cookie is not None
        tab.client.set_cookie("remember_token", cookie.value)
        assert tab.page()["session"] != remembered.page()["session"]
        stream = tab.stream()
        stream.next("connected")
        remembered.logout()
        stream.wait_for_end()

    def test_a_ticket_ends_with_the_session(
        self, site: Site, remembered: Browser
    ) -> None:
        """Though it may be the first that needs the session to have an id."""
        url = f"/events?ticket={remembered.get('/ticket').text}"
        stream = site.browser().stream(url)
        stream.next("connected")
        remembered.logout()
        stream.wait_for_end()
        assert site.browser().get(url).status_code == 401


class TestIdsOfUsers:
    """What an app's get_id() returns is its own business."""

    class Numbered(UserMixin):  # type: ignore[misc]
        """Somebody whose id is a number."""

        def __init__(self, number: int) -> None:
            self.id = number

        def get_id(self) -> int:
            return self.id

    def test_numbers_are_compared_as_text(self, site: Site) -> None:
        """The session keeps a number as it is: logging in once more ends nothing."""
        site.app.login_manager.user_loader(self.Numbered)  # type: ignore[attr-defined]

        @site.app.post("/seven")
        def seven() -> str:
            login_user(self.Numbered(7))
            return "in"

        browser = site.browser()
        browser.client.post("/seven")
        stream = browser.stream()
        stream.next("connected")
        browser.client.post("/seven")
        site.hub.publish("still here", user=7)
        assert stream.data(1) == ["still here"]
        browser.logout()
        stream.wait_for_end()

    @pytest.mark.parametrize("name", ["x" * 300, "x" * 250, "a%0Ab"])
    def test_none_makes_a_logout_fail(self, site: Site, name: str) -> None:
        """Though it is no name that anything could be addressed to."""
        site.browser(name).logout()
        browser = site.browser()
        with browser.client.session_transaction() as cookie:
            cookie["_user_id"] = name
        browser.logout()


class TestChannels:
    @pytest.mark.parametrize("channel", ["news", "sport.tennis"])
    def test_public_ones_are_for_everybody_admitted(
        self, site: Site, channel: str
    ) -> None:
        """By the patterns in the configuration."""
        stream = site.browser("alice").stream(f"/events?channel={channel}")
        stream.next("connected")
        site.hub.publish("x", channel=channel)
        assert stream.data(1) == ["x"]

    def test_others_are_for_nobody_without_a_rule(self, site: Site) -> None:
        """Nobody listens to what is not theirs by guessing a name."""
        response = site.browser("alice").get("/events?channel=news&channel=orders")
        assert response.status_code == 403

    def test_a_rule_decides_by_user_and_channel(self, site: Site) -> None:
        """It is asked for each channel that is not public."""
        asked: list[tuple[str, str]] = []

        @site.hub.authorize_channel
        def may(user: Any, channel: str) -> bool:
            asked.append((user.get_id(), channel))
            return channel == f"orders.{user.get_id()}"

        ann = site.browser("alice")
        ann.stream("/events?channel=orders.alice&channel=news").next("connected")
        assert ann.get("/events?channel=orders.bob").status_code == 403
        assert asked == [("alice", "orders.alice"), ("alice", "orders.bob")]

    @pytest.mark.parametrize(
        "query",
        [
            {"channel": ""},
            {"channel": "a\nb"},
            {"channel": "x" * 256},
            {"channel": [f"news{n}" for n in range(33)]},
        ],
        ids=["empty", "line end", "long", "many"],
    )
    def test_a_bad_name_is_a_bad_request(
        self, site: Site, query: dict[str, Any]
    ) -> None:
        """400, and the stream is not opened."""
        response = site.browser("alice").get("/events", query_string=query)
        assert response.status_code == 400

    @pytest.mark.parametrize("name", ["u:bob", "s:x", "*", "i:x"])
    def test_no_name_reaches_a_users_session_or_client(
        self, make_site: MakeSite, name: str
    ) -> None:
        """They follow from who is connected, even where every channel is public."""
        site = make_site(public_channels=["*"])
        stream = site.browser("alice").stream("/events", query_string={"channel": name})
        stream.next("connected")
        site.hub.publish("secret", user="bob")
        site.hub.publish("secret", session="x")
        site.hub.publish("secret", client="x")
        site.hub.publish("open", channel=name)
        assert stream.data(1) == ["open"]
