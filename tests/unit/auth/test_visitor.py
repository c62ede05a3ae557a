"""The visitor of a request: logins, ids of users, and channels."""

from typing import Any

import pytest
from flask_login import UserMixin, current_user, encode_cookie, login_user

from flask_sse_hub import ConfigurationError
from tests.conftest import Browser, MakeSite, Site, User
from tests.kit.hand import fields


class TestLogin:
    def test_a_stream_needs_a_login(self, site: Site) -> None:
        """The response is a 401, which makes an EventSource give up."""
        assert site.browser().get().status_code == 401

    @pytest.mark.parametrize("name", ["locked", "deleted"])
    def test_a_deleted_or_inactive_user_is_refused(self, site: Site, name: str) -> None:
        """A session cookie alone is no login."""
        assert site.browser(name).get().status_code == 401

    def test_without_flask_login_the_error_names_the_fix(
        self, make_site: MakeSite
    ) -> None:
        """The error is raised by the first stream, and not at the start of the app."""
        bare = make_site(login=False)
        with pytest.raises(ConfigurationError, match="SSE_HUB_LOGIN_REQUIRED = False"):
            bare.browser().get()

    def test_anonymous_streams_open_where_they_are_allowed(
        self, make_site: MakeSite
    ) -> None:
        """Both with Flask-Login and without it."""
        for login in (True, False):
            site = make_site(login=login, login_required=False)
            connected = site.browser().stream().next("connected")
            assert fields(connected)["user_id"] is None

    def test_the_stream_belongs_to_the_logged_in_user(self, site: Site) -> None:
        """publish(user=...) reaches exactly the streams of that user."""
        browser = site.browser("alice")
        assert fields(browser.stream().next())["user_id"] == "alice"
        browser.login("bob")
        assert fields(browser.stream().next())["user_id"] == "bob"

    def test_the_user_is_loaded_after_the_logs_head_was_read(self, site: Site) -> None:
        """A user loaded earlier in the request may have been locked out since."""
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

    def test_a_bearer_token_of_a_request_loader_opens_a_stream(
        self, site: Site
    ) -> None:
        """The app's own tokens are logins like any other."""
        manager = site.app.login_manager  # type: ignore[attr-defined]
        manager.request_loader(
            lambda request: User("robot") if request.authorization else None
        )
        headers = {"Authorization": "Bearer token"}
        stream = site.browser().stream(headers=headers)
        assert fields(stream.next())["user_id"] == "robot"


class Order:
    """The order in which a site reads its log's head and loads users."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        broker = site.app.extensions["sse_hub"].broker
        self._read_head = broker.head
        monkeypatch.setattr(broker, "head", self._head)
        manager = site.app.login_manager  # type: ignore[attr-defined]
        manager.user_loader(self._load)
        manager.request_loader(self._of_request)

    def _head(self) -> Any:
        self.steps.append("head")
        return self._read_head()

    def _load(self, name: str) -> User:
        self.steps.append("load")
        return User(name)

    def _of_request(self, request: Any) -> User | None:
        self.steps.append("load")
        return User("robot") if "X-Robot" in request.headers else None


def _remembered(site: Site) -> Any:
    client = site.app.test_client()
    with site.app.test_request_context():
        cookie = encode_cookie("alice")
    client.set_cookie("remember_token", cookie)
    return client


class TestOrder:
    """Strangers cause no reading of the log, and a logout is never missed."""

    @pytest.mark.parametrize(
        ("cookie", "query", "headers"),
        [
            ("", "", {}),
            ("session=forged", "", {}),
            ("remember_token=alice|forged", "", {}),
            ("", "", {"Authorization": "Bearer unknown"}),
            ("", "?ticket=forged", {}),
        ],
        ids=["nothing", "session", "remembered", "token", "ticket"],
    )
    @pytest.mark.parametrize("path", ["/events", "/dashboard/sse"])
    def test_a_stranger_is_refused_before_the_log_is_read(
        self,
        site: Site,
        monkeypatch: pytest.MonkeyPatch,
        path: str,
        cookie: str,
        query: str,
        headers: dict[str, str],
    ) -> None:
        """While the broker hangs, reading its head takes more than a second."""
        order = Order(site, monkeypatch)
        client = site.app.test_client(use_cookies=False)
        answer = client.get(path + query, headers={**headers, "Cookie": cookie})
        assert answer.status_code == 401
        assert "head" not in order.steps

    @pytest.mark.parametrize(
        ("way", "steps"),
        [
            ("session", ["head", "load"]),
            ("remembered", ["head", "load"]),
            ("ticket", ["head", "load"]),
            ("request", ["load", "head", "load"]),
        ],
    )
    def test_a_user_is_loaded_after_the_logs_head_is_noted(
        self,
        site: Site,
        monkeypatch: pytest.MonkeyPatch,
        way: str,
        steps: list[str],
    ) -> None:
        """A logout while the user is loaded is then after the head."""
        client = site.browser("alice").client if way == "session" else _remembered(site)
        url, headers = "/events", {"X-Robot": "yes"}
        if way == "ticket":
            with site.app.app_context():
                url += f"?ticket={site.hub.ticket(user='alice')}"
        if way in ("ticket", "request"):
            client = site.app.test_client()
        order = Order(site, monkeypatch)
        # The first stream of a process also tries whether its user can be loaded again.
        site.read(client.get(url, headers=headers)).next("connected")
        order.steps.clear()
        site.read(client.get(url, headers=headers)).next("connected")
        assert order.steps[: len(steps)] == steps
        assert "load" not in order.steps[len(steps) :]


class TestRememberedLogins:
    """Remembered logins, whose sessions begin without a login."""

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

    def test_a_logout_ends_the_streams_of_all_pages_of_the_browser(
        self, site: Site, remembered: Browser
    ) -> None:
        """Pages loaded at once begin a session each, but only one cookie is kept."""
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
        """The ticket may be the first use that needs the session to have an id."""
        url = f"/events?ticket={remembered.get('/ticket').text}"
        stream = site.browser().stream(url)
        stream.next("connected")
        remembered.logout()
        stream.wait_for_end()
        assert site.browser().get(url).status_code == 401


class TestIdsOfUsers:
    """User ids: an app's get_id() may return any value."""

    class Numbered(UserMixin):  # type: ignore[misc]
        """A user whose id is a number."""

        def __init__(self, number: int) -> None:
            self.id = number

        def get_id(self) -> int:
            return self.id

    def test_numeric_ids_are_compared_as_text(self, site: Site) -> None:
        """The session keeps the number as it is. Logging in again ends no stream."""
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
    def test_an_unusable_id_does_not_make_a_logout_fail(
        self, site: Site, name: str
    ) -> None:
        """No event could be addressed to an id like these."""
        site.browser(name).logout()
        browser = site.browser()
        with browser.client.session_transaction() as cookie:
            cookie["_user_id"] = name
        browser.logout()


class TestChannels:
    @pytest.mark.parametrize("channel", ["news", "sport.tennis"])
    def test_public_channels_are_open_to_every_admitted_client(
        self, site: Site, channel: str
    ) -> None:
        """The patterns in the configuration name the public channels."""
        stream = site.browser("alice").stream(f"/events?channel={channel}")
        stream.next("connected")
        site.hub.publish("x", channel=channel)
        assert stream.data(1) == ["x"]

    def test_other_channels_are_refused_without_a_rule(self, site: Site) -> None:
        """Guessing a channel's name does not give access to it."""
        response = site.browser("alice").get("/events?channel=news&channel=orders")
        assert response.status_code == 403

    def test_a_rule_decides_by_user_and_channel(self, site: Site) -> None:
        """The rule is asked about each channel that is not public."""
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
        """The response is a 400, and no stream is opened."""
        response = site.browser("alice").get("/events", query_string=query)
        assert response.status_code == 400

    @pytest.mark.parametrize("name", ["u:bob", "s:x", "i:x"])
    def test_no_channel_name_reaches_a_user_session_or_client(
        self, make_site: MakeSite, name: str
    ) -> None:
        """Only the login gives access to these addresses, not a public channel."""
        site = make_site(public_channels=["*"])
        stream = site.browser("alice").stream("/events", query_string={"channel": name})
        stream.next("connected")
        site.hub.publish("secret", user="bob")
        site.hub.publish("secret", session="x")
        site.hub.publish("secret", client="x")
        site.hub.publish("open", channel=name)
        assert stream.data(1) == ["open"]
