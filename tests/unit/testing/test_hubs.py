"""The testing kit: published events, a hub for each test, and a manual clock."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from flask import Flask

from flask_sse_hub import (
    CloseReason,
    ConfigurationError,
    Event,
    InvalidTarget,
    client_disconnected,
)
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from flask_sse_hub.testing import Clock, EventMissing, Published, Stream, fresh_hub
from tests.conftest import MakeSite, Site, User
from tests.kit.hand import KEEP_ALL
from tests.kit.reader import DEADLINE, wait_until

#: Seconds that a task takes, in the tests that wait for one.
SHORTLY = 0.05


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(login_required=False, publish_tokens=["a-token-for-everything"])


@pytest.fixture
def published(site: Site) -> Published:
    return Published(site.app)


@pytest.fixture
def clock(site: Site) -> Iterator[Clock]:
    clock = Clock()
    with fresh_hub(site.app, clock=clock):
        yield clock


# Published events


def test_an_event_is_listed_as_it_was_published(
    site: Site, published: Published
) -> None:
    """The target and the excluded clients are listed, even without listeners."""
    event_id = site.hub.publish(
        {"n": 1}, type="note", user=42, channel="news", exclude_client="c", retry=2
    )
    (event,) = published.events()
    assert event.json() == {"n": 1}
    assert event.id == event_id
    assert event.type == "note"
    assert event.target == {"channel": ["news"], "user": ["42"]}
    assert event.exclude_clients == ("c",)
    assert event.retry == 2
    assert event.time > 0


def test_events_match_all_given_filters(site: Site, published: Published) -> None:
    """One matching filter is not enough; a broadcast has no target in particular."""
    site.hub.publish("both", user=[42, 43], channel="news")
    site.hub.publish("user", user="42", type="note")
    site.hub.publish("everyone")

    def found(**asked: object) -> list[str]:
        return [event.data for event in published.events(**asked)]  # type: ignore[arg-type]

    assert found() == ["both", "user", "everyone"]
    assert found(user=42) == ["both", "user"]
    assert found(user="42", channel="news") == ["both"]
    assert found(user=[42, 43]) == ["both"]
    assert found(user=42, type="note") == ["user"]
    assert found(type="message", everyone=True) == ["everyone"]
    assert found(session="s") == found(client="c") == []


def test_a_user_object_is_a_filter(site: Site, published: Published) -> None:
    """A test asks with the same object with which the app has published."""
    site.hub.publish("x", user=User("alice"))
    site.hub.publish("y", user="bob")
    assert [event.data for event in published.events(user=User("alice"))] == ["x"]


def test_all_ways_of_publishing_are_seen(site: Site, published: Published) -> None:
    """Events are listed that do not go through the app's own code."""
    headers = {"Authorization": "Bearer a-token-for-everything"}
    body = {"data": "x", "type": "note", "target": {"user": 42}}
    response = site.app.test_client().post(
        "/events/publish", json=body, headers=headers
    )
    assert response.status_code < 300
    site.hub.publish(Event("y", type="note"), user=42)
    assert [event.data for event in published.events(user=42)] == ["x", "y"]


def test_earlier_events_are_not_listed(site: Site) -> None:
    """Events from before the start, or from before clear(), are left out."""
    site.hub.publish("before")
    published = Published(site.app)
    site.hub.publish("between")
    assert [event.data for event in published.events()] == ["between"]
    published.clear()
    assert published.events() == []


def test_a_user_of_none_is_refused(published: Published) -> None:
    """As in publish(): a test with an anonymous user would pass by accident."""
    with pytest.raises(InvalidTarget):
        published.events(user=None)  # type: ignore[arg-type]


def test_the_only_event_is_returned(site: Site, published: Published) -> None:
    """The filters are the same, and an error lists the events that were published."""
    site.hub.publish("x", type="note", user=42)
    assert published.one(user=42).data == "x"
    site.hub.publish("y", user=[42, 43])
    assert published.one(user=43).data == "y"
    told = r"but 0 were published, type='billed'; .*\n  note to \{'user': \['42'\]\}: x"
    with pytest.raises(EventMissing, match=told):
        published.one(type="billed")
    with pytest.raises(EventMissing, match="but 2 were published, user=42"):
        published.one(user=42)


def test_a_failed_assertion_shows_the_published_events(
    site: Site, published: Published
) -> None:
    """The assertion shows the repr of the object."""
    assert repr(published) == "<Published: nothing>"
    site.hub.publish("x" * 200, type="note")
    assert repr(published) == f"<Published:\n  note to everyone: {'x' * 100}>"


def test_a_log_that_is_too_short_is_an_error(make_site: MakeSite) -> None:
    """A test does not mistake the remaining events for all events."""
    site = make_site(history_events=2)
    published = Published(site.app)
    for number in range(3):
        site.hub.publish(str(number))
    with pytest.raises(EventMissing, match="SSE_HUB_HISTORY_EVENTS"):
        published.events()


def test_published_works_with_any_broker(make_site: MakeSite, tmp_path: Path) -> None:
    """Earlier events in a database file are left out."""
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    for _ in range(2):
        site = make_site(broker_url=url)
        with fresh_hub(site.app):
            published = Published(site.app)
            site.hub.publish("x", user=42)
            assert [event.data for event in published.events(user=42)] == ["x"]


# A hub for each test


def hub_threads() -> set[str]:
    return {
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("sse-hub-")
    }


def test_an_app_with_a_hub_is_required() -> None:
    """The error names the type of the wrong argument, or the missing init_app()."""
    for app, told in ((None, "not NoneType"), (Flask("bare"), "init_app")):
        with pytest.raises(ConfigurationError, match=told), fresh_hub(app):  # type: ignore[arg-type]
            pass


def test_a_hub_leaves_nothing_behind(site: Site) -> None:
    """Neither threads nor events remain, and the app goes on with another hub."""
    wait_until(lambda: not hub_threads())
    with fresh_hub(site.app), Stream(client=site.app.test_client()) as stream:
        site.hub.publish("for this test")
        stream.next()
        assert hub_threads()
    wait_until(lambda: not hub_threads())
    assert site.hub.stats().connections == 0
    with Stream(client=site.app.test_client(), last_event_id=stream.last_event_id) as s:
        assert s.next(type="reset").json() == {"reason": "epoch"}


def test_a_hub_begins_empty(site: Site) -> None:
    """Events from the app's earlier hub are not in it."""
    before = site.hub.publish("before")
    with (
        fresh_hub(site.app, clock=Clock()),
        Stream(client=site.app.test_client(), last_event_id=before) as stream,
    ):
        assert stream.next(type="reset").json() == {"reason": "epoch"}


def test_an_app_without_a_hub_is_an_error() -> None:
    """The error says that init_app() is missing."""
    with pytest.raises(ConfigurationError, match="init_app"), fresh_hub(Flask("bare")):
        pass


# A manual clock


def test_a_ping_comes_when_it_is_due(site: Site, clock: Clock) -> None:
    """The ping does not come earlier, and half a minute takes no real time."""
    with Stream(client=site.app.test_client()) as stream:
        stream.next(type="connected")
        clock.advance(0.5 * 30)
        clock.advance(0.4 * 30)
        assert stream.next(type="ping").type == "ping"
        clock.advance(30)
        stream.next(type="ping")


def test_a_stream_ends_by_its_age(site: Site, clock: Clock) -> None:
    """The close reason is the usual one."""
    reasons: list[CloseReason] = []

    def note(_: Flask, reason: CloseReason, **__: object) -> None:
        reasons.append(reason)

    with (
        client_disconnected.connected_to(note, sender=site.app),
        Stream(client=site.app.test_client()) as stream,
    ):
        clock.advance(3600)
        stream.rest()
    assert reasons == [CloseReason.AGE]


def test_a_user_who_lost_access_is_disconnected(make_site: MakeSite) -> None:
    """The check comes after the interval, in one step of the clock."""
    site = make_site(public_channels=[])
    members = {"ann"}
    site.hub.authorize_channel(lambda user, channel: user.id in members)
    clock = Clock()
    with (
        fresh_hub(site.app, clock=clock),
        Stream("/events?channel=a", client=site.browser("ann").client) as stream,
    ):
        clock.advance(300)
        assert not stream.ended
        members.clear()
        clock.advance(300)
        stream.rest()


def test_a_client_that_takes_nothing_is_closed(site: Site, clock: Clock) -> None:
    """The clock passes SSE_HUB_CONNECTION_TIMEOUT without a real wait."""
    hub = site.app.extensions["sse_hub"].hub
    with Stream(client=site.app.test_client()) as stream, stream.paused():
        (client,) = hub.clients()
        site.hub.publish("on its way")
        wait_until(lambda: client.sink.writing_since is not None)
        clock.advance(61)
        wait_until(lambda: site.hub.stats().connections == 0)
        assert site.hub.stats().closed == {"stalled": 1}


@pytest.mark.parametrize("broker", ["memory", "sqlite"])
def test_events_expire_by_the_clock(
    make_site: MakeSite, tmp_path: Path, broker: str
) -> None:
    """A client that was away for longer receives a reset."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'hub.db'}"}
    site = make_site(login_required=False, history_seconds=600, broker_url=urls[broker])
    clock = Clock()
    with (
        fresh_hub(site.app, clock=clock),
        Stream(client=site.app.test_client()) as stream,
        Stream(client=site.app.test_client()) as other,
    ):
        site.hub.publish("taken")
        stream.next()
        stream.drop()
        site.hub.publish("missed")
        clock.advance(601)
        site.hub.publish("after that")
        # The worker forgets old events as it passes a new one on, or as it reads that
        # the log is trimmed, which resets everybody.
        while (event := other.next()).type != "reset" and event.data != "after that":
            pass
        stream.resume()
        assert stream.next(type="reset").json() == {"reason": "expired"}


def test_a_ticket_expires_by_the_clock(site: Site, clock: Clock) -> None:
    """The same clock makes the ticket and checks it."""
    clock.advance(1_000)
    with site.app.app_context():
        ticket = site.hub.ticket(user=42, expires=60)
    url, client = f"/events?ticket={ticket}", site.app.test_client()
    clock.advance(58)
    with Stream(url, client=client) as stream:
        assert stream.status == 200
    clock.advance(2)
    with Stream(url, client=client) as stream:
        assert stream.status == 401


class SlowLooks:
    """A hub with three tasks that look at the clock and take their time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.begins = threading.Event()
        self.looked: list[float] = []
        options = HubOptions(memory=KEEP_ALL)
        self.hub = Hub(Parts(MemoryBroker(KEEP_ALL), options, clock=self.clock))
        for name in ("first", "second", "third"):
            self.hub.run_beside(name, self.look, by_clock=True)
        self.clock.keep_time_of(self.hub)

    def look(self) -> None:
        self.begins.wait(DEADLINE)
        while not self.hub.closed.wait(30):
            # Long enough that a clock that does not wait returns too early.
            threading.Event().wait(SHORTLY)
            self.looked.append(self.clock.now)

    def __enter__(self) -> Self:
        self.hub.start()
        wait_until(lambda: self.hub.ready)
        return self

    def __exit__(self, *exc: object) -> None:
        self.hub.close()


def test_time_does_not_pass_before_a_hub_looks_at_it() -> None:
    """A thread that began to wait after the step would be late."""
    with SlowLooks() as slow:
        advancing = threading.Thread(target=slow.clock.advance, args=[30])
        advancing.start()
        advancing.join(SHORTLY)
        slow.begins.set()
        advancing.join(DEADLINE)
        assert slow.looked == [1_030.0] * 3


def test_tasks_that_are_due_are_done_when_advance_returns() -> None:
    """A test does not have to wait for them."""
    with SlowLooks() as slow:
        slow.begins.set()
        slow.clock.advance(29)
        assert slow.looked == []
        slow.clock.advance(1)
        assert slow.looked == [1_030.0] * 3


def test_a_clock_does_not_go_back() -> None:
    """A hub does not have to handle time that runs backwards."""
    with pytest.raises(ValueError, match="does not go back"):
        Clock().advance(-1)


def test_a_clock_works_without_a_hub() -> None:
    """The clock is a function that returns the time, for any code that takes one."""
    clock = Clock(5)
    clock.advance(1.5)
    assert clock() == clock.now == 6.5
