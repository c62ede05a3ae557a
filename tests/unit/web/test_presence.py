"""Presence in an app: settings, rules, questions from views, scripts and publishers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub import (
    ConfigurationError,
    InvalidName,
    PresenceList,
    Publisher,
    channel_occupied,
    user_came,
)
from flask_sse_hub.testing import Stream
from tests.conftest import Browser, MakeSite, Site
from tests.kit.reader import wait_until

ROOM = "room.7"
URL = f"/events?channel={ROOM}&presence=1"


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site with presence in its rooms."""
    return make_site(
        login_required=False,
        public_channels=["room.*", "news"],
        presence=["room.*"],
        presence_grace=0.1,
    )


def names(site: Site, channel: str = ROOM) -> list[str]:
    return [each.user for each in site.hub.present(channel)]


def open_room(site: Site, user: str | None, url: str = URL) -> Stream:
    return Stream(url, client=site.browser(user).client)


def test_people_come_and_leave(site: Site) -> None:
    """The list comes with ``connected``, and a change as an event."""
    with open_room(site, "ann") as watching:
        watching.next("presence")
        with open_room(site, "bob") as stream:
            listed = stream.next("connected").json()["presence"][ROOM]
            assert [each["user"] for each in listed["people"]] == ["ann"]
            came = watching.next("presence").json()
            assert came == {
                "type": "join",
                "channel": ROOM,
                "user": "bob",
                "since": came["since"],
                "data": {},
            }
            (ann, bob) = site.hub.present(ROOM)
            assert (ann.user, bob.user, bob.since) == ("ann", "bob", came["since"])
            assert site.hub.is_present("bob")
            assert site.hub.present_channels("bob") == [ROOM]
        wait_until(lambda: not site.hub.is_present("bob"))
        assert watching.next("presence").json()["type"] == "leave"


def test_who_does_not_ask_has_no_list(site: Site) -> None:
    """Events come all the same."""
    with open_room(site, "ann", f"/events?channel={ROOM}") as stream:
        assert "presence" not in stream.next("connected").json()
        assert stream.next("presence").json()["user"] == "ann"


def test_other_channels_have_nothing_of_it(site: Site) -> None:
    """Neither events nor a list."""
    with open_room(site, "ann", "/events?channel=news&presence=1") as stream:
        assert "presence" not in stream.next("connected").json()
        with open_room(site, "ann"):
            wait_until(lambda: names(site) == ["ann"])
            site.hub.publish("x", channel="news")
        assert stream.next().data == "x"
        with pytest.raises(
            ConfigurationError, match="does not name the channel 'news'"
        ):
            site.hub.present("news")


def test_users_are_described(site: Site) -> None:
    """With None a user is invisible. A failing function lists the user without one."""

    @site.hub.describe_presence
    def describe(user: Any, channel: str) -> dict[str, Any] | None:
        if user.get_id() == "shy":
            return None
        if user.get_id() == "bad":
            raise ValueError("no such picture")
        return {"name": user.get_id().title(), "in": channel, "odd": "\ud800"}

    with open_room(site, "shy") as shy, open_room(site, "ann"):
        assert shy.next("presence").json()["data"] == {
            "name": "Ann",
            "in": ROOM,
            "odd": "\ud800",
        }
        with open_room(site, "bad"):
            assert shy.next("presence").json()["data"] == {}
            assert names(site) == ["ann", "bad"]


@pytest.mark.parametrize("answer", [lambda: False, lambda: 1 / 0])
def test_the_list_may_be_hidden(site: Site, answer: Callable[[], object]) -> None:
    """A user who may not see the people is still seen by them."""

    @site.hub.may_see_presence
    def may_see(user: Any, channel: str) -> bool:
        return user.get_id() == "ann" or bool(answer())

    with open_room(site, "ann") as ann, open_room(site, "bob") as bob:
        assert "presence" not in bob.next("connected").json()
        assert ann.next("presence").json()["user"] == "ann"
        assert ann.next("presence").json()["user"] == "bob"
        site.hub.publish("x", channel=ROOM)
        assert bob.next().data == "x"


def test_a_view_may_keep_its_client_invisible(site: Site) -> None:
    """Support staff see the people, and are not among them."""

    @site.app.get("/support")
    def support() -> Any:
        return site.hub.stream(ROOM, presence=True, invisible=True)

    with open_room(site, "eve", "/support") as stream, open_room(site, "ann"):
        assert stream.next("connected").json()["presence"][ROOM]["people"] == []
        assert stream.next("presence").json()["user"] == "ann"
        assert names(site) == ["ann"]


def test_anonymous_people_are_counted(site: Site) -> None:
    """They have no name to be listed by."""
    with open_room(site, None), open_room(site, None):
        wait_until(lambda: anonymous(site) == 2)
        assert names(site) == []


def anonymous(site: Site) -> int:
    found = site.hub.present(ROOM)
    assert isinstance(found, PresenceList)
    return found.anonymous


def test_signals_tell_of_people(site: Site) -> None:
    """Their sender is the app."""
    told: list[object] = []

    def came(sender: object, *, user: str) -> None:
        told.append((sender, user))

    def occupied(sender: object, *, channel: str) -> None:
        told.append((sender, channel))

    with (
        user_came.connected_to(came, sender=site.app),
        channel_occupied.connected_to(occupied, sender=site.app),
        open_room(site, "ann"),
    ):
        wait_until(lambda: told == [(site.app, ROOM), (site.app, "ann")])


def test_a_script_and_a_publisher_read_the_state(
    make_site: MakeSite, tmp_path: Path
) -> None:
    """Neither follows the log."""
    url = f"sqlite:///{tmp_path}/log.db"
    options = {"broker_url": url, "login_required": False}
    room = {"public_channels": ["room.*"], "presence": ["room.*"]}
    worker, script = (make_site(**options, **room) for _ in range(2))
    publisher = Publisher(url)
    with open_room(worker, "ann") as stream:
        stream.next("presence")
        for hub in (script.hub, publisher):
            assert [each.user for each in hub.present(ROOM)] == ["ann"]
            assert hub.is_present("ann")
            assert not hub.is_present("bob")
        assert not script.app.extensions["sse_hub"].hub.ready
        with script.app.test_request_context():
            assert script.hub.is_present("ann")
        assert script.app.extensions["sse_hub"].hub.ready
    publisher.close()


def test_questions_need_a_setting_and_a_name(make_site: MakeSite, site: Site) -> None:
    """The errors say what to do."""
    off = make_site(login_required=False)
    with pytest.raises(ConfigurationError, match="SSE_HUB_PRESENCE"):
        off.hub.is_present("ann")
    with pytest.raises(InvalidName, match="pattern"):
        site.hub.present("room.*")
    with pytest.raises(InvalidName, match="anonymous"):
        site.hub.is_present(None)  # type: ignore[arg-type]


class TestInPlace:
    """Open streams enter channels with presence and leave them."""

    def change(self, browser: Browser, stream: Stream, **names: list[str]) -> Any:
        """Change a stream's channels; return the confirmation."""
        client_id = stream.next("connected").json()["client_id"]
        body = {"client_id": client_id, **names}
        response = browser.client.post("/events/subscriptions", json=body)
        assert response.status_code == 202
        return stream.next("subscribed").json()

    def test_a_person_enters_a_room(self, site: Site) -> None:
        """Others see the join, and the page receives the people if it asked."""

        @site.hub.describe_presence
        def describe(user: Any, channel: str) -> dict[str, Any] | None:
            return None if user.get_id() == "eve" else {"in": channel}

        with open_room(site, "bob") as watching:
            assert watching.next("presence").json()["user"] == "bob"
            for user, query in (("ann", "&presence=1"), ("cat", ""), ("eve", "")):
                browser = site.browser(user)
                url = f"/events?channel=news{query}"
                with Stream(url, client=browser.client) as stream:
                    told = self.change(browser, stream, subscribe=[ROOM])
                    assert told["channels"] == ["news", ROOM]
                    assert ("presence" in told) == (user == "ann")
                    if user == "ann":
                        # This person's join may be in the log already.
                        people = told["presence"][ROOM]["people"]
                        assert people[0]["user"] == "bob"
                    if user != "eve":
                        for each in (watching, stream):
                            came = each.next("presence").json()
                            assert (came["type"], came["user"]) == ("join", user)
                            assert came["data"] == {"in": ROOM}
            assert names(site) == ["bob", "ann", "cat"]

    def test_a_person_leaves_a_room(self, site: Site) -> None:
        """The grace is that of a closed stream. No further event comes."""
        ann = site.browser("ann")
        with open_room(site, "bob") as watching:
            watching.next("presence")
            with Stream(URL, client=ann.client) as stream:
                assert watching.next("presence").json()["user"] == "ann"
                told = self.change(ann, stream, unsubscribe=[ROOM])
                assert told == {"channels": []}
                left = watching.next("presence").json()
                assert (left["type"], left["user"]) == ("leave", "ann")
                site.hub.publish("last")
                assert stream.next().data == "last"

    def test_a_room_is_entered_after_an_id(self, site: Site) -> None:
        """Its earlier events come, and of the people the list alone."""
        ann = site.browser("ann")
        with open_room(site, "bob") as watching:
            watching.next("presence")
            left = watching.last_event_id
            site.hub.publish("missed", channel=ROOM)
            with Stream("/events?channel=news&presence=1", client=ann.client) as stream:
                client_id = stream.next("connected").json()["client_id"]
                body = {"client_id": client_id, "subscribe": [ROOM], "since": left}
                ann.client.post("/events/subscriptions", json=body)
                assert stream.next().data == "missed"
                told = stream.next("subscribed").json()
                assert told["presence"][ROOM]["people"][0]["user"] == "bob"
                assert stream.next("presence").json()["user"] == "ann"

    def test_the_rule_for_the_people_is_asked(self, site: Site) -> None:
        """A user who may not see them is seen, and receives neither list nor event."""

        @site.hub.may_see_presence
        def may_see(user: Any, channel: str) -> bool:
            return bool(user.get_id() == "bob")

        ann = site.browser("ann")
        url = "/events?channel=news&presence=1"
        with open_room(site, "bob") as watching:
            watching.next("presence")
            with Stream(url, client=ann.client) as stream:
                assert "presence" not in self.change(ann, stream, subscribe=[ROOM])
                assert watching.next("presence").json()["user"] == "ann"
                site.hub.publish("x", channel=ROOM)
                assert stream.next().data == "x"
