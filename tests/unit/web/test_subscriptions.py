"""``POST /events/subscriptions``: other channels for a stream that is open."""

from typing import Any
from unittest.mock import patch

import pytest
from flask import Response
from flask_wtf import CSRFProtect
from itsdangerous.timed import TimestampSigner

from flask_sse_hub.errors import BrokerUnavailable
from flask_sse_hub.testing import Stream
from tests.conftest import Browser, MakeSite, Site, User
from tests.kit.reader import wait_until
from tests.unit.auth.conftest import INTERVAL, reasons

FRIEND = "https://app.example"


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site with public channels, and a rule that opens rooms."""
    site = make_site(
        public_channels=["news", "sport"], max_channels=4, cors_origins=[FRIEND]
    )

    @site.hub.authorize_channel
    def may_listen(user: User, channel: str) -> bool:
        return channel.startswith(f"room.{user.id}")

    return site


def opened(
    browser: Browser, url: str = "/events?channel=news", **options: Any
) -> tuple[Stream, str]:
    """Open a stream; return it with its client id."""
    stream = Stream(url, client=browser.client, **options)
    return stream, stream.next("connected").json()["client_id"]


def post(browser: Browser, client_id: str, **more: Any) -> Any:
    options = {
        name: more.pop(name) for name in ("headers", "content_type") if name in more
    }
    body = {"client_id": client_id, **more}
    return browser.client.post("/events/subscriptions", json=body, **options)


def test_the_stream_has_other_channels_from_there_on(site: Site) -> None:
    """The answer has the place in the log, and so has the confirmation."""
    ann = site.browser("alice")
    stream, client_id = opened(ann)
    with stream:
        site.hub.publish("before", channel="room.alice")
        response = post(
            ann, client_id, subscribe=["room.alice", "sport"], unsubscribe=["news"]
        )
        assert response.status_code == 202
        for name in ("news", "room.alice"):
            site.hub.publish(name, channel=name)
        told = stream.next("subscribed")
        assert told.json() == {"channels": ["room.alice", "sport"]}
        assert told.id == response.json["id"]
        event = stream.next("message")
        assert (event.data, event.channel) == ("room.alice", "room.alice")
        (client,) = site.hub.stats(clients=True).clients
        assert client.channels == ("room.alice", "sport")


def test_a_resume_goes_on_with_the_channels_of_the_url(site: Site) -> None:
    """Nothing is lost or doubled if the client asks for what was confirmed."""
    ann = site.browser("alice")
    stream, client_id = opened(ann)
    with stream:
        post(ann, client_id, subscribe=["sport"])
        last = stream.next("subscribed").id
    site.hub.publish("missed", channel="sport")
    url = f"/events?channel=news&channel=sport&client_id={client_id}"
    with opened(ann, url, last_event_id=last)[0] as stream:
        assert stream.next().data == "missed"


def test_a_channel_begins_after_an_id(site: Site) -> None:
    """Its events since then come first, and a page keeps the id of the last one."""
    ann = site.browser("alice")
    stream, client_id = opened(ann)
    with stream:
        left = site.hub.publish("had", channel="sport")
        missed = site.hub.publish("missed", channel="sport")
        assert post(ann, client_id, subscribe=["sport"], since=left).status_code == 202
        event = stream.next()
        assert (event.data, event.earlier) == ("missed", missed)
        assert stream.next("subscribed").json() == {"channels": ["news", "sport"]}
        assert stream.last_event_id != missed


def test_a_channel_that_is_no_longer_open_ends_the_stream(
    make_site: MakeSite,
) -> None:
    """The rule is asked again about the new channels, also of anonymous visitors."""
    site = make_site(
        login_required=False, public_channels=["news"], revalidate_interval=INTERVAL
    )
    open_rooms = {"room"}
    site.hub.authorize_channel(lambda user, channel: channel in open_rooms)
    ann, nobody = site.browser("alice"), site.browser()
    nobody.page()
    for browser in (ann, nobody):
        stream, client_id = opened(browser)
        with stream:
            assert post(browser, client_id, subscribe=["room"]).status_code == 202
            stream.next("subscribed")
            open_rooms.clear()
            stream.rest()
            open_rooms.add("room")
    wait_until(lambda: reasons(site) == {"revoked": 2})


def test_streams_whose_channels_are_fixed(site: Site) -> None:
    """Those of a view and of a ticket: the confirmation refuses the names."""

    @site.app.get("/mine")
    def mine() -> Response:
        return site.hub.stream("news")

    @site.app.get("/ticket")
    def ticket() -> str:
        return site.hub.ticket(channels="news")

    ann = site.browser("alice")
    for url in ("/mine", f"/events?channel=news&ticket={ann.get('/ticket').text}"):
        stream, client_id = opened(ann, url)
        with stream:
            assert post(ann, client_id, subscribe=["sport"]).status_code == 202
            told = stream.next("subscribed").json()
            assert told == {"channels": ["news"], "refused": ["sport"]}


def test_an_id_without_a_stream(site: Site) -> None:
    """No worker knows of all streams: the page waits for the confirmation."""
    ann = site.browser("alice")
    client_id = ann.page()["client"]
    assert post(ann, client_id, subscribe=["sport"]).status_code == 202


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"subscribe": ["sport"]}, "client_id must be"),
            ({"client_id": 7, "subscribe": ["sport"]}, "client_id must be"),
            ({"client_id": "x"}, "name a channel"),
            ({"client_id": "x", "subscribe": []}, "name a channel"),
            ({"client_id": "x", "subscribe": "sport"}, "must be a list"),
            ({"client_id": "x", "subscribe": None}, "must be a list"),
            ({"client_id": "x", "subscribe": [7]}, "must be a str"),
            ({"client_id": "x", "subscribe": [None]}, "must be a str"),
            ({"client_id": "x", "subscribe": ["a\nb"]}, "CR, LF or NUL"),
            ({"client_id": "x", "subscribe": ["room*"]}, "is no pattern"),
            ({"client_id": "x", "unsubscribe": [""]}, "unsubscribe: a channel's name"),
            ({"client_id": "x", "unsubscribe": [*"abcde"]}, "SSE_HUB_MAX_CHANNELS"),
            ({"client_id": "x", "subscribe": ["a"], "unsubscribe": ["a"]}, "'a' is in"),
            ({"client_id": "x", "subscribe": ["a"], "channel": "a"}, "with the keys"),
            (["x"], "with the keys"),
            ({"client_id": "x", "subscribe": ["a"], "since": "x y"}, "since is 'x y'"),
            ({"client_id": "x", "subscribe": ["a"], "since": 7}, "since is 7"),
            ({"client_id": "x", "unsubscribe": ["a"], "since": "e-1"}, "in subscribe"),
        ],
    )
    def test_a_body_that_is_wrong(self, site: Site, body: Any, said: str) -> None:
        """The error names the key, and what is wrong with it."""
        client = site.browser("alice").client
        response: Any = client.post("/events/subscriptions", json=body)
        assert response.status_code == 400
        assert said in response.json["error"]

    @pytest.mark.parametrize(
        ("data", "kind", "status"),
        [
            (b"{", "application/json", 400),
            (b"{}", "text/plain", 415),
            (b"client_id=x", "application/x-www-form-urlencoded", 415),
            (b'"%s"' % (b"x" * 100_000), "application/json", 413),
        ],
    )
    def test_a_body_that_is_no_json(
        self, site: Site, data: bytes, kind: str, status: int
    ) -> None:
        """A form of another site cannot send JSON, and no body takes much memory."""
        client = site.browser("alice").client
        url = "/events/subscriptions"
        response = client.post(url, data=data, content_type=kind)
        assert response.status_code == status

    def test_a_channel_that_is_not_open(self, site: Site) -> None:
        """Nothing is changed, not even the channels that are open."""
        ann = site.browser("alice")
        stream, client_id = opened(ann)
        with stream:
            response = post(ann, client_id, subscribe=["sport", "room.bob"])
            assert response.status_code == 403
            assert "'room.bob' is not open" in response.json["error"]
            site.hub.publish("x", channel=["sport", "room.bob"])
            site.hub.publish("last", channel="news")
            assert stream.next().data == "last"

    def test_a_stream_of_somebody_else(self, site: Site) -> None:
        """The id must be of this user and session, and signed by this app."""
        ann = site.browser("alice")
        stream, client_id = opened(ann)
        with stream:
            others = [
                (site.browser("bob"), client_id),
                (site.browser("alice"), client_id),
            ]
            others += [(ann, "forged"), (ann, client_id[:-1]), (ann, "\udc80")]
            for browser, given in others:
                response = post(browser, given, subscribe=["sport"])
                assert response.status_code == 403
                assert "not yours" in response.json["error"]
            assert post(site.browser(), client_id, unsubscribe=["a"]).status_code == 401
            ann.logout()
            assert post(ann, client_id, subscribe=["sport"]).status_code == 401

    def test_an_id_is_good_as_long_as_a_stream_may_have_it(self, site: Site) -> None:
        """The stream was opened within a day, and lives for an hour more."""
        ann = site.browser("alice")
        client_id = ann.page()["client"]
        now = TimestampSigner("x").get_timestamp()
        for hours, status in ((24.9, 202), (25.1, 403)):
            moved = int(now + hours * 3600)
            with patch.object(TimestampSigner, "get_timestamp", lambda _, at=moved: at):
                assert post(ann, client_id, subscribe=["sport"]).status_code == status

    def test_an_anonymous_visitor_without_a_session(self, make_site: MakeSite) -> None:
        """Nobody owns such an id: anybody could change the stream."""
        site = make_site(login_required=False, public_channels=["news"])
        nobody = site.browser()
        stream, client_id = opened(nobody)
        with stream:
            assert post(nobody, client_id, subscribe=["news"]).status_code == 403

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 202),
            ({"Origin": FRIEND}, 202),
            ({"Origin": "http://localhost"}, 202),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
        ],
    )
    def test_pages_of_other_origins(
        self, site: Site, headers: dict[str, str], status: int
    ) -> None:
        """The same ones as for a stream. So no CSRF token is needed."""
        CSRFProtect(site.app).exempt(site.app.view_functions["login"])
        ann = site.browser("alice")
        client_id = ann.page()["client"]
        response = post(ann, client_id, subscribe=["sport"], headers=headers)
        assert response.status_code == status

    def test_a_page_of_an_allowed_origin_may_ask(self, site: Site) -> None:
        """The preflight names the method and the headers of the browser client."""
        asked = {"Origin": FRIEND, "Access-Control-Request-Method": "POST"}
        client = site.browser("alice").client
        answer = client.options("/events/subscriptions", headers=asked).headers
        assert "POST" in answer["Access-Control-Allow-Methods"]
        assert "Content-Type" in answer["Access-Control-Allow-Headers"]

    def test_a_broker_that_is_away(self, site: Site) -> None:
        """The page may ask again: a change that is made already is confirmed again."""
        ann = site.browser("alice")
        client_id = ann.page()["client"]
        broker = site.app.extensions["sse_hub"].broker
        with patch.object(broker, "publish", side_effect=BrokerUnavailable("away")):
            response = post(ann, client_id, subscribe=["sport"])
        assert response.status_code == 503
        assert response.headers["Retry-After"]
        assert "it is unknown" in response.json["error"]

    def test_changes_count_like_new_streams(self, make_site: MakeSite) -> None:
        """A reconnect with other channels would count too."""
        site = make_site(public_channels=["news"], connect_rate="1/hour")
        ann = site.browser("alice")
        client_id = ann.page()["client"]
        answers = [post(ann, client_id, subscribe=["news"]) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 429]
