"""Streams of channel patterns, from the request to the event."""

import json
from typing import Any

import pytest
from flask import Response

from flask_sse_hub.testing import Stream
from tests.conftest import Browser, MakeSite, Site, User
from tests.kit.reader import wait_until
from tests.unit.auth.conftest import INTERVAL, reasons


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site with public orders, and a rule that opens the rooms of a user."""
    site = make_site(public_channels=["orders.*", "news"], revalidate_interval=INTERVAL)
    site.app.config |= {"ASKED": [], "OPEN": True}

    @site.hub.authorize_channel
    def may_listen(user: User, channel: str) -> bool:
        site.app.config["ASKED"].append(channel)
        is_own = channel.startswith(f"room.{user.id}.")
        return is_own and bool(site.app.config["OPEN"])

    return site


def opened(browser: Browser, query: str) -> tuple[Stream, str]:
    """Open a stream; return it with its client id."""
    stream = Stream(f"/events?{query}", client=browser.client)
    return stream, stream.next("connected").json()["client_id"]


def statuses(browser: Browser, *names: str, query: str = "") -> list[int]:
    """Return the status of a HEAD request for each channel or pattern."""
    return [
        browser.client.head(f"/events?channel={name}{query}").status_code
        for name in names
    ]


def test_an_event_comes_once_with_its_channel(site: Site) -> None:
    """However many of the patterns cover it, live and after a reconnect."""
    ann = site.browser("alice")
    query = "channel=orders.*&channel=orders.eu.*&channel=orders.eu.7&channel=news"
    with opened(ann, query)[0] as stream:
        for name in ("orders.eu.7", "orders.us", "news"):
            site.hub.publish(f"live {name}", channel=name)
        for name in ("orders.eu.7", "orders.us", "news"):
            event = stream.next("message")
            assert (event.data, event.channel) == (f"live {name}", name)
        last = event.id
    site.hub.publish("both", channel=["orders.eu.7", "orders.us"])
    site.hub.publish("missed", channel="orders.eu.8")
    url = f"/events?{query}"
    with Stream(url, client=ann.client, last_event_id=last) as stream:
        assert stream.next("connected").json()["channels"] == [
            *("orders.*", "orders.eu.*", "orders.eu.7", "news")
        ]
        assert [stream.next("message").data for _ in range(2)] == ["both", "missed"]


def test_the_state_of_all_channels_comes_first(site: Site) -> None:
    """``?state=1`` has the newest value of each key in each channel."""
    for name, data in (("orders.1", "a"), ("orders.2", "b"), ("orders.1", "c")):
        site.hub.publish(data, channel=name, key="status")
    with opened(site.browser("alice"), "channel=orders.*&state=1")[0] as stream:
        events = [stream.next("message") for _ in range(2)]
    assert [(each.channel, each.data, each.state) for each in events] == [
        ("orders.2", "b", True),
        ("orders.1", "c", True),
    ]


class TestPermission:
    def test_a_public_pattern_opens_what_it_covers(self, make_site: MakeSite) -> None:
        """Not the patterns that have the text of a glob pattern's match."""
        globs = ["orders.*", "a.?", "b.[*]", "c*"]
        site = make_site(login_required=False, public_channels=globs)
        names = ["orders.*", "orders.eu.*", "c.*", "ca.b.*", "order.*", "a.*", "b.*"]
        found = statuses(site.browser(), *names)
        assert found == [200] * 4 + [403] * 3

    def test_the_rule_is_asked_with_the_pattern(self, site: Site) -> None:
        """Once more than for a public one."""
        ann = site.browser("alice")
        names = ["orders.*", "room.alice.*", "room.bob.*", "room.*", "news.*"]
        assert statuses(ann, *names) == [200, 200, 403, 403, 403]
        assert site.app.config["ASKED"] == names[1:]

    def test_it_is_asked_again_while_the_stream_is_open(self, site: Site) -> None:
        """The stream ends when the answer has changed."""
        ann = site.browser("alice")
        with opened(ann, "channel=room.alice.*")[0]:
            site.app.config["ASKED"].clear()
            wait_until(lambda: "room.alice.*" in site.app.config["ASKED"])
            site.app.config["OPEN"] = False
            wait_until(lambda: reasons(site) == {"revoked": 1})

    def test_a_ticket_opens_what_its_patterns_cover(self, site: Site) -> None:
        """The view that signs it has decided."""
        with site.app.test_request_context():
            ticket = site.hub.ticket(user="alice", channels=["ticket.*", "one.x"])
        names = ["ticket.*", "ticket.7", "ticket.a.*", "one.x", "one.*", "ticket"]
        found = statuses(site.browser(), *names, query=f"&ticket={ticket}")
        assert found == [200] * 4 + [403] * 2
        stream = Stream(f"/events?ticket={ticket}", client=site.browser().client)
        with stream:
            assert stream.next("connected").json()["channels"] == ["ticket.*", "one.x"]

    def test_a_view_and_a_page_may_name_a_pattern(self, site: Site) -> None:
        """The view decides, and the page asks."""

        @site.app.get("/all")
        def everything() -> Response:
            return site.hub.stream("secret.*")

        @site.app.get("/page-of-orders")
        def page_of_orders() -> str:
            return str(site.hub.script("orders.*"))

        ann = site.browser("alice")
        with Stream("/all", client=ann.client) as stream:
            stream.next("connected")
            site.hub.publish("x", channel="secret.7")
            assert stream.next("message").channel == "secret.7"
        assert "channel=orders.*" in ann.get("/page-of-orders").text


class TestInPlace:
    def test_a_pattern_is_added_and_removed(self, site: Site) -> None:
        """From there on; events that another channel brings come once."""
        ann = site.browser("alice")
        stream, client_id = opened(ann, "channel=orders.7")

        def change(**names: list[str]) -> list[str]:
            body = {"client_id": client_id, **names}
            response = ann.client.post("/events/subscriptions", json=body)
            assert response.status_code == 202
            channels: list[str] = stream.next("subscribed").json()["channels"]
            return channels

        with stream:
            site.hub.publish("before", channel="orders.8")
            assert change(subscribe=["orders.*"]) == ["orders.7", "orders.*"]
            for name in ("orders.7", "orders.8"):
                site.hub.publish(name, channel=name)
                assert stream.next("message").data == name
            assert change(unsubscribe=["orders.*"]) == ["orders.7"]
            for name in ("orders.8", "orders.7"):
                site.hub.publish(name, channel=name)
            assert stream.next("message").data == "orders.7"

    @pytest.mark.parametrize(
        ("name", "status"),
        [("room.bob.*", 403), ("orders*", 400), ("*", 400), ("a.*.b", 400)],
    )
    def test_a_pattern_that_is_refused(
        self, site: Site, name: str, status: int
    ) -> None:
        """By the rule, or because it is none."""
        ann = site.browser("alice")
        stream, client_id = opened(ann, "channel=news")
        with stream:
            body = {"client_id": client_id, "subscribe": [name]}
            response = ann.client.post("/events/subscriptions", json=body)
        assert response.status_code == status


class TestPresence:
    @pytest.fixture
    def site(self, make_site: MakeSite) -> Site:
        return make_site(public_channels=["*"], presence=["room.*", "*.hall"])

    @pytest.mark.parametrize("name", ["room.*", "room.7.*", "house.*"])
    def test_nobody_listens_unseen(self, site: Site, name: str) -> None:
        """A pattern that covers a channel with presence is refused, in place too."""
        ann = site.browser("alice")
        response = ann.get(f"/events?channel={name}")
        assert response.status_code == 400
        assert "covers channels with presence: name each channel" in response.text
        stream, client_id = opened(ann, "channel=news")
        with stream:
            body = {"client_id": client_id, "subscribe": [name]}
            response = ann.client.post("/events/subscriptions", json=body)
            assert response.status_code == 400
            assert "covers channels with presence: name each channel" in response.text

    def test_the_stream_of_a_view_may_be_invisible(self, site: Site) -> None:
        """A moderator's page hears all rooms, and is in none of them."""

        @site.app.get("/moderate")
        def moderate() -> Response:
            return site.hub.stream("room.*", invisible=True, presence=True)

        bob = site.browser("bob")
        with Stream("/moderate", client=site.browser("alice").client) as stream:
            assert "presence" not in stream.next("connected").json()
            with opened(bob, "channel=room.7")[0]:
                wait_until(lambda: site.hub.present("room.7"))
                assert [each.user for each in site.hub.present("room.7")] == ["bob"]
                site.hub.publish("hi", channel="room.7")
                assert stream.next("message").data == "hi"


def test_the_number_of_channels_is_limited(make_site: MakeSite) -> None:
    """A pattern counts as one of them, and its text is limited too."""
    site = make_site(public_channels=["*"], max_channels=2)
    ann = site.browser("alice")
    assert statuses(ann, "a.*&channel=b.*") == [200]
    assert statuses(ann, "a.*&channel=b.*&channel=c") == [400]
    assert statuses(ann, "a." * 9 + "*", "a" * 300 + ".*") == [400, 400]


def test_statistics_show_the_pattern(site: Site) -> None:
    """As a channel's name. Metrics count it at the glob pattern that has its text."""
    with opened(site.browser("alice"), "channel=orders.*")[0]:
        stats = site.hub.stats(clients=True)
        assert stats.channels == {"orders.*": 1}
        assert stats.clients[0].channels == ("orders.*",)


def test_an_event_goes_to_no_pattern(make_site: MakeSite) -> None:
    """An event has channels: over HTTP it is 400, and the text says why."""
    token = "a-token-of-sixteen-characters"
    site = make_site(publish_tokens=[token])
    for name in ("orders.*", "*", "a*"):
        response: Any = site.app.test_client().post(
            "/events/publish",
            json={"data": "x", "target": {"channel": name}},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert response.status_code == 400
        assert "is a pattern, not a channel's name" in json.dumps(response.json)
