"""Sessions: logins and logouts decide which streams of a session go on."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Response, request, session
from flask_login import current_user, login_required, login_user, logout_user

from flask_sse_hub.events.record import Record
from flask_sse_hub.hub.control import ControlSender
from tests.conftest import MakeSite, Site, User
from tests.kit.hand import fields
from tests.kit.reader import wait_until
from tests.unit.auth.conftest import ends_alone


class TestSessions:
    def test_logging_out_ends_the_streams_of_that_session(self, site: Site) -> None:
        """The same user's streams in other sessions go on."""
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

    def test_logging_out_a_session_without_an_id_ends_all_streams_of_the_user(
        self, site: Site
    ) -> None:
        """Without an id, the session's own streams cannot be told from the others."""
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
        """A login from before the extension was installed is covered too."""
        old = site.browser()
        with old.client.session_transaction() as cookie:
            cookie["_user_id"] = "alice"
        unnamed = old.stream()
        unnamed.next("connected")
        site.browser("alice").logout()
        unnamed.wait_for_end()

    def test_logging_in_ends_the_streams_opened_before(
        self, make_site: MakeSite
    ) -> None:
        """An anonymous visitor's page reconnects as the logged-in user."""
        site = make_site(login_required=False)
        browser = site.browser()
        browser.page()
        stream = browser.stream()
        assert fields(stream.next())["user_id"] is None
        browser.login("alice")
        stream.wait_for_end()

    def test_the_session_id_is_replaced_at_login_and_logout(self, site: Site) -> None:
        """An event for the previous session id reaches no client."""
        browser = site.browser()
        ids = [browser.page()["session"]]
        browser.login("alice")
        ids.append(browser.page()["session"])
        browser.logout()
        ids.append(browser.page()["session"])
        assert len(set(ids)) == 3
        assert browser.page()["session"] == ids[-1]

    @pytest.mark.parametrize("login_required", [True, False])
    def test_an_anonymous_logout_is_logged_only_where_anonymous_streams_exist(
        self,
        make_site: MakeSite,
        monkeypatch: pytest.MonkeyPatch,
        login_required: bool,
    ) -> None:
        """Elsewhere its control record would only displace events from the log."""
        sent: list[Record] = []
        monkeypatch.setattr(
            ControlSender, "send", lambda _, record: sent.append(record)
        )
        stranger = make_site(login_required=login_required).browser()
        stranger.page()
        stranger.logout()
        assert len(sent) == (0 if login_required else 1)

    def test_an_anonymous_logout_ends_no_stream(self, site: Site) -> None:
        """A second click on the logout button is no error."""
        stream = site.browser("alice").stream()
        stream.next("connected")
        site.browser().logout()
        site.hub.publish("still here")
        assert stream.data(1) == ["still here"]

    def test_a_stream_sets_no_cookie(self, site: Site) -> None:
        """A reconnecting stream would otherwise keep a session alive for ever."""

        @site.app.before_request
        def touch() -> None:
            session["seen"] = True
            session.permanent = True

        browser = site.browser("alice")
        response = browser.get()
        assert "Set-Cookie" not in response.headers
        site.read(response).next("connected")
        assert "Set-Cookie" in browser.get("/page").headers

    def test_a_stream_sets_no_cookie_with_a_custom_response_class(
        self, site: Site
    ) -> None:
        """Flask converts every other response to an instance of that class."""

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
        # A wrapper around the stream could not be closed while the stream waits.
        stream.close()
        wait_until(lambda: not site.hub.stats().clients)


class TestSessionsThatReviewsFound:
    """Regressions: faults found in reviews, each provoked as it was found."""

    def test_a_logout_during_the_stream_request_ends_the_stream(
        self, site: Site
    ) -> None:
        """The request carries the logged-out session, so it receives no event."""
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
        """Another user logs in at the same browser."""
        browser = site.browser()
        with browser.client.session_transaction() as cookie:
            cookie["_user_id"] = "alice"
        stream = browser.stream()
        stream.next("connected")
        browser.login("bob")
        stream.wait_for_end()

    def test_logging_in_again_as_the_same_user_ends_nothing(self, site: Site) -> None:
        """Some apps log the same user in at each request."""
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
        """The browser never learns the session's id, since a stream sets no cookie."""

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

    def test_a_client_id_without_a_session_cannot_be_reused(
        self, make_site: MakeSite
    ) -> None:
        """Otherwise every visitor without a session could claim the id."""
        site = make_site(login_required=False)
        first = fields(site.browser().stream().next())["client_id"]
        again = site.browser().stream(f"/events?client_id={first}").next()
        assert fields(again)["client_id"] != first

    def test_a_view_can_check_the_owner_of_a_client_id(self, site: Site) -> None:
        """Check the owner before you act on an id from a page."""

        @site.app.post("/owns")
        def owns() -> str:
            return str(site.hub.owns_client(request.get_json()))

        ann, ben = site.browser("alice"), site.browser("bob")
        client_id = ann.page()["client"]
        assert ann.client.post("/owns", json=client_id).text == "True"
        assert ben.client.post("/owns", json=client_id).text == "False"
        for forged in ("forged", client_id + "<>", "\ud800", client_id + "\ud800"):
            assert ann.client.post("/owns", json=forged).text == "False"


class TestClearedSessions:
    """Logouts that only change the session, without Flask-Login's logout_user()."""

    @pytest.mark.parametrize("how", ["clear", "pop"])
    @pytest.mark.parametrize("named", [True, False])
    def test_emptying_a_session_ends_its_streams(
        self, site: Site, how: str, named: bool
    ) -> None:
        """session.clear() is a common way to log a user out."""

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

    def test_other_changes_of_a_session_end_no_stream(self, site: Site) -> None:
        """A change to a shopping cart is no logout."""

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
    """Sessions emptied before a login or after a logout, to prevent fixation."""

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
    def test_its_streams_end_regardless_of_the_next_step(
        self, site: Site, then: Callable[[Site], object]
    ) -> None:
        """Only the streams of the request's session end, not the user's others."""

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

    def test_tickets_and_copies_of_an_emptied_session_open_nothing(
        self, site: Site
    ) -> None:
        """Also if the user was loaded before, as login_required does."""

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

    def test_writing_another_user_into_a_session_is_a_login(self, site: Site) -> None:
        """The app sets the user id in the session without calling Flask-Login."""

        @site.app.post("/become/<name>")
        def become(name: str) -> str:
            session["_user_id"] = name
            return "become"

        browser = site.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        browser.client.post("/become/bob")
        stream.wait_for_end()


class TestEventsFromBeforeTheLogin:
    """A user who registers now receives no earlier event."""

    @pytest.fixture
    def old(self, make_site: MakeSite) -> Callable[..., tuple[Site, str]]:
        def make(**settings: Any) -> tuple[Site, str]:
            """Return a site with old events, and an id from before them."""
            site = make_site(**settings)
            state = site.app.extensions["sse_hub"]
            times = [state.time_of_day() - 600.0]
            state.time_of_day = lambda: times[0]
            site.app.get("/ticket")(lambda: site.hub.ticket())
            with site.app.app_context():
                start = str(state.hub.cursor())
            site.hub.publish("old")
            site.hub.publish("the last holder's", user="alice")
            times[0] += 600.0
            return site, start

        return make

    @pytest.mark.parametrize("way", ["cookie", "ticket"])
    def test_an_old_id_is_reset(
        self, old: Callable[..., tuple[Site, str]], way: str
    ) -> None:
        """With the cookie of the new login, and with a ticket of its session."""
        site, start = old()
        browser = site.browser("alice")
        url = f"/events?last_event_id={start}"
        if way == "ticket":
            ticket = browser.client.get("/ticket").get_data(as_text=True)
            browser, url = site.browser(), f"{url}&ticket={ticket}"
        stream = browser.stream(url)
        assert fields(stream.next("connected"))["resumed"] is False
        assert fields(stream.next("reset")) == {"reason": "expired"}
        site.hub.publish("new")
        assert stream.data(1) == ["new"]

    def test_the_app_can_allow_it(self, old: Callable[..., tuple[Site, str]]) -> None:
        """Where users log in often and resume across their logins."""
        site, start = old(resume_before_login=True)
        stream = site.browser("alice").stream(f"/events?last_event_id={start}")
        assert stream.data(2) == ["old", "the last holder's"]


class TestReplayedLogouts:
    """An old cookie has a valid signature for as long as the app's key is in use."""

    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
        sent: list[Record] = []
        monkeypatch.setattr(
            ControlSender, "send", lambda _, record: sent.append(record)
        )
        return sent

    @pytest.mark.parametrize("how", ["/logout", "/login/bob", "/empty"])
    @pytest.mark.parametrize("late", [False, True])
    def test_the_end_of_an_ended_session_writes_nothing(
        self, site: Site, sent: list[Record], how: str, late: bool
    ) -> None:
        """The user's later sessions go on, and no event leaves the log for it."""

        @site.app.post("/empty")
        def empty() -> str:
            session.clear()
            return "emptied"

        browser = site.browser("alice")
        if late:
            with browser.client.session_transaction() as cookie:
                cookie["_sse_hub_session"] = "late:minted"
        old = browser.client.get_cookie("session")
        assert old is not None
        browser.logout()
        assert sent
        sent.clear()
        stream = site.browser("alice").stream()
        stream.next("connected")
        for _ in range(5):
            thief = site.browser()
            thief.client.set_cookie("session", old.value)
            assert thief.client.post(how).status_code == 200
        assert sent == []
        site.hub.publish("still here", user="alice")
        assert stream.data(1) == ["still here"]

    def test_a_logout_without_an_id_is_one_record(
        self, site: Site, sent: list[Record]
    ) -> None:
        """The user and the stand-in for the session's id are ended together."""
        old = site.browser()
        with old.client.session_transaction() as cookie:
            cookie["_user_id"] = "alice"
        old.logout()
        (record,) = sent
        assert len(record.addresses) == 2


class TestStrongProtection:
    """Flask-Login empties the session in a request of another browser."""

    @pytest.fixture(autouse=True)
    def strong(self, site: Site) -> None:
        site.app.config["SESSION_PROTECTION"] = "strong"

        @site.app.post("/empty")
        def empty() -> str:
            session.clear()
            return "emptied"

    @pytest.mark.parametrize(
        "then", ["/page", "/logout", "/login/thief", "/empty", "/events"]
    )
    def test_a_stolen_cookie_ends_nothing(self, site: Site, then: str) -> None:
        """The owner's streams go on, and the owner can open more of them."""

        @site.app.before_request
        def look() -> None:
            assert current_user.is_authenticated in (True, False)

        owner = site.browser("alice")
        stream = owner.stream()
        stream.next("connected")
        stolen = owner.client.get_cookie("session")
        assert stolen is not None
        thief = site.browser()
        thief.client.set_cookie("session", stolen.value)
        method = "GET" if then in ("/page", "/events") else "POST"
        thief.client.open(then, method=method, headers={"User-Agent": "another"})
        site.hub.publish("still here", user="alice")
        assert stream.data(1) == ["still here"]
        assert owner.page()
        owner.stream().next("connected")

    def test_its_owner_can_still_log_out(self, site: Site) -> None:
        """The same session, in the browser that it belongs to."""
        owner = site.browser("alice")
        stream = owner.stream()
        stream.next("connected")
        owner.logout()
        stream.wait_for_end()
