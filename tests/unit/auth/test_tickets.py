"""Tickets: streams for clients that can send neither cookies nor headers."""

from typing import Any

import pytest
from flask import Flask, session

from flask_sse_hub import (
    ConfigurationError,
    InvalidName,
    InvalidTarget,
    InvalidTicket,
    SSEHub,
)
from tests.conftest import Browser, MakeSite, Site, User
from tests.kit.hand import fields
from tests.kit.reader import StreamReader


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app with a view that gives out tickets, as users would write it."""
    site = make_site(public_channels=["news"])

    @site.app.get("/ticket")
    def ticket() -> str:
        return site.hub.ticket(channels=["orders", "builds"])

    return site


def mint(site: Site, **options: Any) -> str:
    """Return a ticket that was made outside a request, as a job would."""
    with site.app.app_context():
        return site.hub.ticket(**{"user": "alice"} | options)


def get(site: Site, ticket: str, **query: Any) -> Any:
    """Ask for a stream with only a ticket."""
    return site.browser().get("/events", query_string={"ticket": ticket} | query)


def stream(site: Site, ticket: str, **query: Any) -> StreamReader:
    return site.read(get(site, ticket, **query))


def ticket_of(browser: Browser) -> str:
    found: str = browser.get("/ticket").text
    return found


class TestWhatItOpens:
    def test_it_opens_the_streams_of_its_user(self, site: Site) -> None:
        """The stream has the user's events and the broadcasts."""
        reader = stream(site, mint(site))
        assert fields(reader.next())["user_id"] == "alice"
        site.hub.publish("mine", user="alice")
        site.hub.publish("not mine", user="bob")
        site.hub.publish("everybody's")
        assert reader.data(2) == ["mine", "everybody's"]

    def test_it_opens_its_channels_even_if_they_are_not_public(
        self, site: Site
    ) -> None:
        """The stream has all channels of the ticket, or those that the URL selects."""
        ticket = mint(site, channels=["orders", "builds"])
        assert fields(stream(site, ticket).next())["channels"] == ["orders", "builds"]
        some = stream(site, ticket, channel="builds").next()
        assert fields(some)["channels"] == ["builds"]

    def test_it_opens_public_channels(self, site: Site) -> None:
        """Public channels are open to every admitted client."""
        opened = stream(site, mint(site), channel="news").next()
        assert fields(opened)["channels"] == ["news"]

    def test_it_opens_no_other_channel(self, site: Site) -> None:
        """The user could ask for the refused channel without a ticket."""
        site.hub.authorize_channel(lambda user, channel: True)
        assert get(site, mint(site), channel="orders").status_code == 403

    def test_a_ticket_wins_over_the_cookie(self, site: Site) -> None:
        """A client that sends a ticket wants to use it."""
        url = f"/events?ticket={mint(site)}"
        assert fields(site.browser("bob").stream(url).next())["user_id"] == "alice"

    def test_it_can_be_used_again(self, site: Site) -> None:
        """A native EventSource comes back to the same URL."""
        ticket = mint(site)
        for _ in range(2):
            stream(site, ticket).next("connected")

    def test_it_does_not_log_in_to_a_view_of_the_app(self, site: Site) -> None:
        """A view of the app requires its own login."""

        @site.app.get("/own/sse")
        def own() -> Any:
            return site.hub.stream("orders")

        response = site.browser().get(f"/own/sse?ticket={mint(site)}")
        assert response.status_code == 401


class TestWhenItIsRefused:
    """Each refusal is a 401: an EventSource stops, and the page can get a new one."""

    @pytest.mark.parametrize("forged", ["x", "a.b", "é", "." * 5000, "W10.x", "\x00"])
    def test_forged(self, site: Site, forged: str) -> None:
        """A valid ticket needs the app's secret key."""
        assert get(site, forged).status_code == 401

    def test_changed_by_a_character(self, site: Site) -> None:
        """The change may be in the content or in the signature."""
        ticket = mint(site)
        for at in (0, len(ticket) // 2, len(ticket) - 2):
            changed = "A" if ticket[at] != "A" else "B"
            forged = ticket[:at] + changed + ticket[at + 1 :]
            assert get(site, forged).status_code == 401

    def test_expired(self, site: Site) -> None:
        """A ticket expires after its `expires` seconds and not before."""
        now = [0.0]
        site.app.extensions["sse_hub"].time_of_day = lambda: now[0]
        ticket = mint(site, expires=60)
        now[0] = 59.9
        stream(site, ticket).next("connected")
        now[0] = 60.0
        assert get(site, ticket).status_code == 401

    def test_of_another_kind(self, site: Site) -> None:
        """A client id is signed with the same key and is no ticket."""
        assert get(site, site.browser("alice").page()["client"]).status_code == 401

    @pytest.mark.parametrize("user", ["deleted", "locked"])
    def test_of_a_user_who_is_gone(self, site: Site, user: str) -> None:
        """A ticket proves who the user is, not that the user may still connect."""
        assert get(site, mint(site, user=user)).status_code == 401

    def test_of_another_app(self, site: Site, make_site: MakeSite) -> None:
        """Another app has another secret key."""
        other = make_site()
        other.app.secret_key = "another key"
        assert get(site, mint(other)).status_code == 401

    def test_where_there_is_no_secret_key(self, make_site: MakeSite) -> None:
        """Without a key no ticket is valid, and a forged one is no server error."""
        site = make_site(login=False, login_required=False)
        site.app.secret_key = None
        assert get(site, "forged").status_code == 401


def test_a_ticket_survives_the_rotation_of_the_secret_key(site: Site) -> None:
    """As with sessions, the old key must be in SECRET_KEY_FALLBACKS."""
    ticket = mint(site)
    site.app.config["SECRET_KEY_FALLBACKS"] = [site.app.secret_key]
    site.app.secret_key = "a newer key"
    stream(site, ticket).next("connected")
    site.app.config["SECRET_KEY_FALLBACKS"] = []
    assert get(site, ticket).status_code == 401


BAD_KEYS = ["a key that is long enough", b"a key", [""], [None], [7], {"key": 1}, 7]


@pytest.mark.parametrize("value", BAD_KEYS, ids=repr)
def test_older_keys_that_are_no_list_of_keys_are_refused(
    site: Site, value: Any
) -> None:
    """Each letter of a text would be a key, and anybody can sign with one letter."""
    site.app.config["SECRET_KEY_FALLBACKS"] = value
    with (
        site.app.app_context(),
        pytest.raises(ConfigurationError, match="SECRET_KEY_FALLBACKS") as caught,
    ):
        site.hub.ticket(user="alice")
    assert "long enough" not in str(caught.value)
    app = Flask("late")
    app.config["SECRET_KEY_FALLBACKS"] = value
    with pytest.raises(ConfigurationError, match=r"FALLBACKS.* in JSON"):
        SSEHub(app)


class TestTicketsOfOnesOwn:
    def test_a_ticket_is_for_the_user_of_the_request(self, site: Site) -> None:
        """The view does not have to name the user."""
        opened = stream(site, ticket_of(site.browser("alice"))).next()
        assert fields(opened)["user_id"] == "alice"

    def test_a_ticket_ends_with_its_session(self, site: Site) -> None:
        """Its streams end at once, and it opens no more."""
        browser = site.browser("alice")
        ticket = ticket_of(browser)
        reader = stream(site, ticket)
        reader.next("connected")
        browser.logout()
        reader.wait_for_end()
        assert get(site, ticket).status_code == 401

    def test_a_ticket_for_another_user_outlives_the_session(self, site: Site) -> None:
        """The logout of an admin does not end another user's ticket."""

        @site.app.get("/ticket/<user>")
        def ticket_for(user: str) -> str:
            return site.hub.ticket(user=user)

        admin = site.browser("admin")
        ticket = admin.get("/ticket/alice").text
        admin.logout()
        assert fields(stream(site, ticket).next())["user_id"] == "alice"

    def test_a_user_object_stands_for_its_id(self, site: Site) -> None:
        """A view that has loaded a user need not know which id streams know."""
        with site.app.app_context():
            ticket = site.hub.ticket(user=User("alice"))
        assert fields(stream(site, ticket).next())["user_id"] == "alice"

    def test_a_ticket_requires_a_login(self, site: Site) -> None:
        """The view answers 401, as a stream would."""
        assert site.browser().get("/ticket").status_code == 401

    def test_without_required_login_a_ticket_has_no_user(
        self, make_site: MakeSite
    ) -> None:
        """The ticket opens its channels, in the visitor's session if there is one."""
        site = make_site(login_required=False)

        @site.app.get("/ticket")
        def ticket() -> str:
            session["seen"] = True
            return site.hub.ticket(channels=["orders"])

        opened = stream(site, ticket_of(site.browser())).next()
        assert fields(opened)["user_id"] is None
        assert fields(opened)["channels"] == ["orders"]


class TestMakingOne:
    def test_outside_a_request_a_user_is_required(self, site: Site) -> None:
        """Outside a request there is no current user to use."""
        with site.app.app_context(), pytest.raises(InvalidTarget, match="pass user="):
            site.hub.ticket(channels=["orders"])

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"user": None}, InvalidName),
            ({"user": ""}, InvalidName),
            ({"user": "a\nb"}, InvalidName),
            ({"user": ["alice"]}, InvalidName),
            ({"channels": None}, InvalidTarget),
            ({"channels": ["a\nb"]}, InvalidName),
            ({"channels": [7]}, InvalidName),
            ({"expires": 0}, InvalidTicket),
            ({"expires": -1}, InvalidTicket),
            ({"expires": float("inf")}, InvalidTicket),
            ({"expires": float("nan")}, InvalidTicket),
            ({"expires": True}, InvalidTicket),
            ({"expires": "60"}, InvalidTicket),
        ],
    )
    def test_bad_arguments_are_an_error(
        self, site: Site, options: dict[str, Any], error: type[Exception]
    ) -> None:
        """A user of None is refused and never becomes a ticket for anybody else."""
        with pytest.raises(error):
            mint(site, **options)

    def test_a_single_channel_and_a_number_are_names(self, site: Site) -> None:
        """The arguments are the same as those of publish()."""
        opened = fields(stream(site, mint(site, user=7, channels="orders")).next())
        assert (opened["user_id"], opened["channels"]) == ("7", ["orders"])

    def test_making_a_ticket_needs_a_secret_key(self, make_site: MakeSite) -> None:
        """Without one nothing can be signed, and the error says so."""
        site = make_site(login=False, login_required=False)
        site.app.secret_key = None
        with pytest.raises(ConfigurationError, match="SECRET_KEY"):
            mint(site)


def test_without_flask_login_no_user_is_loaded(make_site: MakeSite) -> None:
    """The ticket's user is trusted, because there is no user to load."""
    site = make_site(login=False, login_required=False)
    assert fields(stream(site, mint(site)).next())["user_id"] == "alice"


def test_without_a_user_loader_reload_user_loads_the_user(
    make_site: MakeSite,
) -> None:
    """An API that knows only bearer tokens registers just reload_user."""
    site = make_site()
    manager = site.app.login_manager  # type: ignore[attr-defined]
    manager._user_callback = None
    site.hub.reload_user(lambda name: User(name) if name == "alice" else None)
    stream(site, mint(site)).next("connected")
    assert get(site, mint(site, user="bob")).status_code == 401
