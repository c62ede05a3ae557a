"""The kit for tests: what was published, a hub of a test's own, a clock by hand."""

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
from flask_sse_hub.testing import Clock, EventMissing, Published, Stream, fresh_hub
from tests.conftest import MakeSite, Site
from tests.hand import KEEP_ALL
from tests.reader import DEADLINE, wait_until

#: How long something takes that is waited for, in the tests of waiting.
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


# What was published


def test_an_event_is_told_as_it_was_published(site: Site, published: Published) -> None:
    """With whom it is for and whom it leaves out, and though nobody listens."""
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


def test_events_are_found_by_all_that_is_asked(
    site: Site, published: Published
) -> None:
    """Not by any of it; a broadcast is addressed to nobody in particular."""
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


def test_all_ways_of_publishing_are_seen(site: Site, published: Published) -> None:
    """Also those that do not go through the app's own code."""
    headers = {"Authorization": "Bearer a-token-for-everything"}
    body = {"data": "x", "type": "note", "target": {"user": 42}}
    response = site.app.test_client().post(
        "/events/publish", json=body, headers=headers
    )
    assert response.status_code < 300
    site.hub.publish(Event("y", type="note"), user=42)
    assert [event.data for event in published.events(user=42)] == ["x", "y"]


def test_what_was_before_does_not_count(site: Site) -> None:
    """Neither before it began, nor before it was cleared."""
    site.hub.publish("before")
    published = Published(site.app)
    site.hub.publish("between")
    assert [event.data for event in published.events()] == ["between"]
    published.clear()
    assert published.events() == []


def test_nobody_is_not_everybody(published: Published) -> None:
    """As in publish(): a test for an anonymous user would be green by accident."""
    with pytest.raises(InvalidTarget):
        published.events(user=None)  # type: ignore[arg-type]


def test_the_only_event_is_returned(site: Site, published: Published) -> None:
    """By the same filters; whoever expected another one sees what there is."""
    site.hub.publish("x", type="note", user=42)
    assert published.one(user=42).data == "x"
    site.hub.publish("y", user=[42, 43])
    assert published.one(user=43).data == "y"
    told = r"but 0 were published, type='billed'; .*\n  note to \{'user': \['42'\]\}: x"
    with pytest.raises(EventMissing, match=told):
        published.one(type="billed")
    with pytest.raises(EventMissing, match="but 2 were published, user=42"):
        published.one(user=42)


def test_what_was_published_is_shown_where_an_assertion_fails(
    site: Site, published: Published
) -> None:
    """Which shows the object whose events() were not as expected."""
    assert repr(published) == "<Published: nothing>"
    site.hub.publish("x" * 200, type="note")
    assert repr(published) == f"<Published:\n  note to everyone: {'x' * 100}>"


def test_a_log_that_is_too_short_is_told(make_site: MakeSite) -> None:
    """A test does not take the rest of the events for all of them."""
    site = make_site(history_events=2)
    published = Published(site.app)
    for number in range(3):
        site.hub.publish(str(number))
    with pytest.raises(EventMissing, match="SSE_HUB_HISTORY_EVENTS"):
        published.events()


def test_any_broker_will_do(make_site: MakeSite, tmp_path: Path) -> None:
    """What is in a file from before does not count."""
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    for _ in range(2):
        site = make_site(broker_url=url)
        with fresh_hub(site.app):
            published = Published(site.app)
            site.hub.publish("x", user=42)
            assert [event.data for event in published.events(user=42)] == ["x"]


# A hub of a test's own


def hub_threads() -> set[str]:
    return {
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("sse-hub-")
    }


def test_an_app_is_needed_that_has_a_hub() -> None:
    """Whoever gives something else is told what it is."""
    for app, told in ((None, "not NoneType"), (Flask("bare"), "init_app")):
        with pytest.raises(ConfigurationError, match=told), fresh_hub(app):  # type: ignore[arg-type]
            pass


def test_a_hub_leaves_nothing_behind(site: Site) -> None:
    """Neither threads nor events, and the app goes on with another one."""
    wait_until(lambda: not hub_threads())
    with fresh_hub(site.app), Stream(client=site.app.test_client()) as stream:
        site.hub.publish("for this test")
        stream.next()
        assert hub_threads()
    wait_until(lambda: not hub_threads())
    assert site.hub.stats().connections == 0
    with Stream(client=site.app.test_client(), last_event_id=stream.last_event_id) as s:
        assert s.next(type="reset").json() == {"reason": "epoch"}


def test_a_hub_begins_with_nothing(site: Site) -> None:
    """Whatever the app has done with an older one."""
    before = site.hub.publish("before")
    with (
        fresh_hub(site.app, clock=Clock()),
        Stream(client=site.app.test_client(), last_event_id=before) as stream,
    ):
        assert stream.next(type="reset").json() == {"reason": "epoch"}


def test_an_app_without_a_hub_is_told() -> None:
    """What is missing, and where."""
    with pytest.raises(ConfigurationError, match="init_app"), fresh_hub(Flask("bare")):
        pass


# A clock by hand


def test_a_ping_comes_when_its_time_has_come(site: Site, clock: Clock) -> None:
    """And not before; half a minute of it takes no time."""
    with Stream(client=site.app.test_client()) as stream:
        stream.next(type="connected")
        clock.advance(0.5 * 30)
        clock.advance(0.4 * 30)
        assert stream.next(type="ping").type == "ping"
        clock.advance(30)
        stream.next(type="ping")


def test_a_stream_ends_by_its_age(site: Site, clock: Clock) -> None:
    """Its reason is told as ever."""
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


def test_whoever_may_no_longer_listen_is_found_out(make_site: MakeSite) -> None:
    """After the interval, in one step."""
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
    """After SSE_HUB_CONNECTION_TIMEOUT, without waiting for it."""
    hub = site.app.extensions["sse_hub"].hub
    with Stream(client=site.app.test_client()) as stream, stream.paused():
        (client,) = hub.registry.clients()
        site.hub.publish("on its way")
        wait_until(lambda: client.sink.writing_since is not None)
        clock.advance(61)
        wait_until(lambda: site.hub.stats().connections == 0)
        assert site.hub.stats().closed == {"stalled": 1}


@pytest.mark.parametrize("broker", ["memory", "sqlite"])
def test_events_are_retained_by_it(
    make_site: MakeSite, tmp_path: Path, broker: str
) -> None:
    """Who was away for longer is told so."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'hub.db'}"}
    site = make_site(login_required=False, history_seconds=600, broker_url=urls[broker])
    clock = Clock()
    with (
        fresh_hub(site.app, clock=clock),
        Stream(client=site.app.test_client()) as stream,
    ):
        site.hub.publish("taken")
        stream.next()
        stream.drop()
        site.hub.publish("missed")
        clock.advance(601)
        site.hub.publish("after that")
        stream.resume()
        assert stream.next(type="reset").json() == {"reason": "expired"}


def test_a_ticket_expires_by_it(site: Site, clock: Clock) -> None:
    """Not before, and it was made by the same clock."""
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
    """A hub for which two tasks look at the clock, in their own time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.begins = threading.Event()
        self.looked: list[float] = []
        self.hub = Hub(
            MemoryBroker(KEEP_ALL), HubOptions(memory=KEEP_ALL), clock=self.clock
        )
        for name in ("first", "second"):
            self.hub.run_beside(name, self.look)
        self.clock.keep_time_of(self.hub)

    def look(self) -> None:
        self.begins.wait(DEADLINE)
        while not self.hub.closed.wait(30):
            # Long enough for whoever does not wait for it to be too early.
            threading.Event().wait(SHORTLY)
            self.looked.append(self.clock.now)

    def __enter__(self) -> Self:
        self.hub.start()
        wait_until(lambda: self.hub.ready)
        return self

    def __exit__(self, *exc: object) -> None:
        self.hub.close()


def test_time_does_not_pass_before_a_hub_looks_at_it() -> None:
    """What its threads have not begun to wait for would come too late."""
    with SlowLooks() as slow:
        advancing = threading.Thread(target=slow.clock.advance, args=[30])
        advancing.start()
        advancing.join(SHORTLY)
        slow.begins.set()
        advancing.join(DEADLINE)
        assert slow.looked == [1_030.0, 1_030.0]


def test_what_was_due_has_been_done() -> None:
    """When advance() returns; a test need not wait for it."""
    with SlowLooks() as slow:
        slow.begins.set()
        slow.clock.advance(29)
        assert slow.looked == []
        slow.clock.advance(1)
        assert slow.looked == [1_030.0, 1_030.0]


def test_a_clock_does_not_go_back() -> None:
    """A hub could not know what to do, and does not have to."""
    with pytest.raises(ValueError, match="does not go back"):
        Clock().advance(-1)


def test_a_clock_without_a_hub_just_goes_on() -> None:
    """It is a function that tells the time, for whatever takes one."""
    clock = Clock(5)
    clock.advance(1.5)
    assert clock() == clock.now == 6.5
