"""Tickets: streams for those who can send neither cookies nor headers."""

from typing import Any

import pytest
from flask import session

from flask_sse_hub import ConfigurationError, InvalidName, InvalidTarget, InvalidTicket
from tests.conftest import Browser, MakeSite, Site, User
from tests.hand import fields
from tests.reader import StreamReader


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app with a view that gives out tickets, as its users would write it."""
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
    """Ask for a stream with nothing but a ticket."""
    return site.browser().get("/events", query_string={"ticket": ticket} | query)


def stream(site: Site, ticket: str, **query: Any) -> StreamReader:
    return site.read(get(site, ticket, **query))


def ticket_of(browser: Browser) -> str:
    found: str = browser.get("/ticket").text
    return found


class TestWhatItOpens:
    def test_the_streams_of_its_user(self, site: Site) -> None:
        """What is addressed to the user, and what is for everybody."""
        reader = stream(site, mint(site))
        assert fields(reader.next())["user_id"] == "alice"
        site.hub.publish("mine", user="alice")
        site.hub.publish("not mine", user="bob")
        site.hub.publish("everybody's")
        assert reader.data(2) == ["mine", "everybody's"]

    def test_its_channels_though_nobody_could_ask_for_them(self, site: Site) -> None:
        """All of them, or those that are asked for."""
        ticket = mint(site, channels=["orders", "builds"])
        assert fields(stream(site, ticket).next())["channels"] == ["orders", "builds"]
        some = stream(site, ticket, channel="builds").next()
        assert fields(some)["channels"] == ["builds"]

    def test_public_channels(self, site: Site) -> None:
        """They are open to everybody admitted."""
        opened = stream(site, mint(site), channel="news").next()
        assert fields(opened)["channels"] == ["news"]

    def test_no_other_channel(self, site: Site) -> None:
        """Not even one that the user could ask for without a ticket."""
        site.hub.authorize_channel(lambda user, channel: True)
        assert get(site, mint(site), channel="orders").status_code == 403

    def test_it_wins_over_the_cookie(self, site: Site) -> None:
        """Who shows one means it."""
        url = f"/events?ticket={mint(site)}"
        assert fields(site.browser("bob").stream(url).next())["user_id"] == "alice"

    def test_it_can_be_used_again(self, site: Site) -> None:
        """A native EventSource comes back to the same URL."""
        ticket = mint(site)
        for _ in range(2):
            stream(site, ticket).next("connected")

    def test_it_opens_nothing_else(self, site: Site) -> None:
        """A view of the app asks its own login."""

        @site.app.get("/own/sse")
        def own() -> Any:
            return site.hub.stream("orders")

        response = site.browser().get(f"/own/sse?ticket={mint(site)}")
        assert response.status_code == 401


class TestWhenItIsRefused:
    """Always with 401: an EventSource stops, and who can gets a fresh one."""

    @pytest.mark.parametrize("forged", ["x", "a.b", "é", "." * 5000, "W10.x", "\x00"])
    def test_forged(self, site: Site, forged: str) -> None:
        """It needs the app's secret key."""
        assert get(site, forged).status_code == 401

    def test_changed_by_a_character(self, site: Site) -> None:
        """Of what it says, or of its signature."""
        ticket = mint(site)
        for at in (0, len(ticket) // 2, len(ticket) - 2):
            changed = "A" if ticket[at] != "A" else "B"
            forged = ticket[:at] + changed + ticket[at + 1 :]
            assert get(site, forged).status_code == 401

    def test_expired(self, site: Site) -> None:
        """After the seconds that it was made for, and not before."""
        now = [0.0]
        site.app.extensions["sse_hub"].time_of_day = lambda: now[0]
        ticket = mint(site, expires=60)
        now[0] = 59.9
        stream(site, ticket).next("connected")
        now[0] = 60.0
        assert get(site, ticket).status_code == 401

    def test_of_another_kind(self, site: Site) -> None:
        """A client id is signed by the same key, and is no ticket."""
        assert get(site, site.browser("alice").page()["client"]).status_code == 401

    @pytest.mark.parametrize("user", ["deleted", "locked"])
    def test_of_a_user_who_is_gone(self, site: Site, user: str) -> None:
        """It says who somebody is, not that they may still come."""
        assert get(site, mint(site, user=user)).status_code == 401

    def test_of_another_app(self, site: Site, make_site: MakeSite) -> None:
        """Which has another key."""
        other = make_site()
        other.app.secret_key = "another key"
        assert get(site, mint(other)).status_code == 401

    def test_where_there_is_no_secret_key(self, make_site: MakeSite) -> None:
        """The app can have made none; a stranger who sends one makes no error."""
        site = make_site(login=False, login_required=False)
        site.app.secret_key = None
        assert get(site, "forged").status_code == 401


def test_it_survives_the_rotation_of_the_secret_key(site: Site) -> None:
    """As sessions do, as long as the key of before is a fallback."""
    ticket = mint(site)
    site.app.config["SECRET_KEY_FALLBACKS"] = [site.app.secret_key]
    site.app.secret_key = "a newer key"
    stream(site, ticket).next("connected")
    site.app.config["SECRET_KEY_FALLBACKS"] = []
    assert get(site, ticket).status_code == 401


class TestTicketsOfOnesOwn:
    def test_whoever_asks_for_one_is_its_user(self, site: Site) -> None:
        """The view need not say."""
        opened = stream(site, ticket_of(site.browser("alice"))).next()
        assert fields(opened)["user_id"] == "alice"

    def test_it_ends_with_the_session(self, site: Site) -> None:
        """Its streams at once, and it opens no more."""
        browser = site.browser("alice")
        ticket = ticket_of(browser)
        reader = stream(site, ticket)
        reader.next("connected")
        browser.logout()
        reader.wait_for_end()
        assert get(site, ticket).status_code == 401

    def test_one_for_somebody_else_does_not(self, site: Site) -> None:
        """An admin's logout is not the end of whom a ticket was made for."""

        @site.app.get("/ticket/<user>")
        def ticket_for(user: str) -> str:
            return site.hub.ticket(user=user)

        admin = site.browser("admin")
        ticket = admin.get("/ticket/alice").text
        admin.logout()
        assert fields(stream(site, ticket).next())["user_id"] == "alice"

    def test_nobody_gets_one_without_a_login(self, site: Site) -> None:
        """The view is answered as a stream would be."""
        assert site.browser().get("/ticket").status_code == 401

    def test_where_no_login_is_required_it_is_for_nobody(
        self, make_site: MakeSite
    ) -> None:
        """It opens its channels, in the visitor's session if there is one."""
        site = make_site(login_required=False)

        @site.app.get("/ticket")
        def ticket() -> str:
            session["seen"] = True
            return site.hub.ticket(channels=["orders"])

        opened = stream(site, ticket_of(site.browser())).next()
        assert fields(opened)["user_id"] is None
        assert fields(opened)["channels"] == ["orders"]


class TestMakingOne:
    def test_of_somebody_outside_a_request(self, site: Site) -> None:
        """There is nobody whom it could mean."""
        with site.app.app_context(), pytest.raises(InvalidTarget, match="needs a user"):
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
    def test_of_something_bad_is_an_error(
        self, site: Site, options: dict[str, Any], error: type[Exception]
    ) -> None:
        """None is no user: it never becomes a ticket for anybody else."""
        with pytest.raises(error):
            mint(site, **options)

    def test_a_single_channel_and_a_number_are_names(self, site: Site) -> None:
        """As for publish()."""
        opened = fields(stream(site, mint(site, user=7, channels="orders")).next())
        assert (opened["user_id"], opened["channels"]) == ("7", ["orders"])

    def test_needs_a_secret_key(self, make_site: MakeSite) -> None:
        """There is nothing to sign with, and the error says so."""
        site = make_site(login=False, login_required=False)
        site.app.secret_key = None
        with pytest.raises(ConfigurationError, match="SECRET_KEY"):
            mint(site)


def test_without_flask_login_the_app_says_who_somebody_is(make_site: MakeSite) -> None:
    """There is nobody to load."""
    site = make_site(login=False, login_required=False)
    assert fields(stream(site, mint(site)).next())["user_id"] == "alice"


def test_without_a_user_loader_the_apps_own_loads_the_user(
    make_site: MakeSite,
) -> None:
    """An API that knows bearer tokens only registers reload_user."""
    site = make_site()
    manager = site.app.login_manager  # type: ignore[attr-defined]
    manager._user_callback = None
    site.hub.reload_user(lambda name: User(name) if name == "alice" else None)
    stream(site, mint(site)).next("connected")
    assert get(site, mint(site, user="bob")).status_code == 401
