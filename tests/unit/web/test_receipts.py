"""Receipts in an app: from a view, from a script, and from a publisher."""

import pytest
from flask import Flask

from flask_sse_hub import Event, InvalidName, Publisher, Receipt, event_unheard
from flask_sse_hub.testing import Clock
from tests.conftest import MakeSite, Site
from tests.kit.reader import wait_until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(make_site: MakeSite, clock: Clock) -> Site:
    site = make_site(login_required=False)
    state = site.app.extensions["sse_hub"]
    state.clock, state.time_of_day = clock, clock.time_of_day
    clock.keep_time_of(state.hub)

    @site.app.post("/say")
    def say() -> str:
        return str(site.hub.publish("hello", user="ann", receipt=True))

    return site


def test_a_view_learns_that_an_event_was_written(site: Site, clock: Clock) -> None:
    """The receipt is complete a little later. A publisher reads it from the log."""
    browser = site.browser("ann")
    with browser.stream() as stream:
        stream.next("connected")
        event_id = browser.client.post("/say").text
        assert stream.next().data == "hello"
        assert site.hub.receipts(event_id) == Receipt()
        wait_until(lambda: site.hub.stats(clients=True).clients[0].lag_events == 0)
        clock.advance(2)
        wait_until(lambda: site.hub.receipts(event_id) == Receipt(1, 1))
        clock.advance(3)
        assert site.hub.receipts(event_id) == Receipt(1, 1, complete=True)
        later = site.hub.publish("hello", user="ann")
        assert stream.next().data == "hello"
        assert site.hub.receipts(later) is None


def test_an_app_is_told_that_nobody_is_there(site: Site, clock: Clock) -> None:
    """The request that publishes makes its worker look, without any stream."""
    told: list[tuple[Flask, Event, str, object]] = []

    def note(app: Flask, event: Event, event_id: str, target: object) -> None:
        told.append((app, event, event_id, target))

    with event_unheard.connected_to(note, site.app):
        event_id = site.app.test_client().post("/say").text

        def is_told() -> bool:
            # The time that counts begins when the worker has read the event.
            clock.advance(1)
            return bool(told)

        wait_until(is_told)
    assert told == [(site.app, Event("hello"), event_id, {"user": ["ann"]})]
    assert site.hub.receipts(event_id) == Receipt(unheard=True, complete=True)


@pytest.mark.parametrize("event_id", ["", "7", None, 7])
def test_a_wrong_id_is_refused(site: Site, event_id: str) -> None:
    """The error names it."""
    with pytest.raises(InvalidName, match="is not an event's id"):
        site.hub.receipts(event_id)


def test_a_publisher_reads_the_log(site: Site, tmp_path: object) -> None:
    """It knows nothing before a worker has reported, as a script."""
    publisher = Publisher(f"sqlite:///{tmp_path}/log.db", create=True)
    event_id = publisher.publish("hello", user="ann", receipt=True)
    assert publisher.receipts(event_id) is None
    publisher.close()
