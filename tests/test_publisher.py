"""Publishing from outside the app."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub import (
    ConfigurationError,
    Event,
    EventTooLarge,
    InvalidEvent,
    InvalidTarget,
    Publisher,
    SSEHub,
)
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.hub.delivery.history import Record, Retention
from tests.hand import KEEP_ALL

EVENT = Record((BROADCAST,), Event("x"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def publisher(path: Path) -> Iterator[Publisher]:
    publisher = Publisher(f"sqlite:///{path}", max_event_bytes=100)
    yield publisher
    publisher.close()


@pytest.fixture
def log(path: Path) -> Iterator[SQLiteBroker]:
    broker = SQLiteBroker(path, KEEP_ALL)
    yield broker
    broker.close()


def test_an_event_is_in_the_apps_log(publisher: Publisher, log: SQLiteBroker) -> None:
    """With the type, the targets and everything else that it was given."""
    start = log.head()
    event_id = publisher.publish(
        {"a": 1}, type="t", user=7, channel=["x", "y"], exclude_client="c", retry=2.0
    )
    (record,) = log.replay(start, page=9).records
    assert str(record.cursor) == event_id
    assert record.content == Event('{"a": 1}', type="t", retry=2.0)
    assert set(record.addresses) == {
        address.user(7),
        address.channel("x"),
        address.channel("y"),
    }
    assert record.exclude == ("c",)


def test_an_event_is_published_as_it_is(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """With the type and the retry that it was made with."""
    start = log.head()
    publisher.publish(Event("x", type="t", retry=2.0))
    (record,) = log.replay(start, page=9).records
    assert record.content == Event("x", type="t", retry=2.0)


def test_it_takes_what_the_apps_publish_takes() -> None:
    """Whoever moves a call into a job changes nothing of it."""
    assert signature(Publisher.publish) == signature(SSEHub.publish)


def test_an_idempotency_key_holds_across_processes(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """A job that is run twice publishes once."""
    first = publisher.publish("x", idempotency_key="job 7")
    again = Record((BROADCAST,), Event("x"), idempotency_key="job 7")
    assert str(log.publish(again)) == first


def test_bad_input_is_refused_as_in_the_app(publisher: Publisher) -> None:
    """None is nobody's user, dates have no JSON form, and there is a largest size."""
    with pytest.raises(InvalidTarget):
        publisher.publish("x", user=None)  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent):
        publisher.publish(date(2026, 1, 1))
    with pytest.raises(EventTooLarge, match="100 are allowed"):
        publisher.publish("x" * 101)


def test_it_can_be_told_how_to_write_json(path: Path) -> None:
    """As the app's own provider does it."""
    publisher = Publisher(
        f"sqlite:///{path}", dumps=lambda data: json.dumps(data, default=str)
    )
    publisher.publish(date(2026, 1, 1))
    publisher.close()


def test_it_keeps_as_much_of_the_log_as_the_app_does(
    publisher: Publisher, path: Path
) -> None:
    """It was never told a retention: the app notes its own in the log."""
    log = SQLiteBroker(path, Retention(events=3, seconds=3600.0, bytes=10_000_000))
    log.publish(EVENT)
    for _ in range(9):
        publisher.publish("x")
    assert len(log.replay(log.tail(10**9), page=99).records) == 3
    log.close()


def test_without_an_app_it_trims_nothing(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """How much is kept is not its business."""
    for _ in range(9):
        publisher.publish("x")
    assert len(log.replay(log.tail(10**9), page=99).records) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_connections_of_its_own(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """As Celery's workers, which are forked from a process that has published."""
    script = (
        "import os, sys; from flask_sse_hub import Publisher\n"
        "publisher = Publisher(sys.argv[1])\n"
        "publisher.publish('parent')\n"
        "child = os.fork()\n"
        "publisher.publish('child' if child == 0 else 'parent')\n"
        "if child: os.waitpid(child, 0)\n"
    )
    start = log.head()
    command = [sys.executable, "-c", script, publisher._url]
    subprocess.run(command, check=True, timeout=30.0)
    records = log.replay(start, page=9).records
    data = sorted(r.content.data for r in records if isinstance(r.content, Event))
    assert data == ["child", "parent", "parent"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("memory://", "does not leave the process"),
        ("sqlite:///hub.db", "absolute"),
        ("redis://localhost", "SSE_HUB_NAME"),
        ("http://localhost", "there are memory"),
        ("", "there are memory"),
        (None, "must be a str"),
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: Any, text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigurationError, match=text):
        Publisher(url)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "a b"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"name": 5}, "letters, digits"),
        ({"name": "x", "max_event_bytes": 0}, "max_event_bytes"),
        ({"name": "x", "max_event_bytes": "7"}, "max_event_bytes"),
        ({"name": "x", "max_event_bytes": 16_777_217}, "at most 16777216"),
        ({"name": "x", "dumps": None}, "dumps"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(
    options: dict[str, Any], text: str
) -> None:
    """Not by an event that nobody gets."""
    with pytest.raises(ConfigurationError, match=text):
        Publisher("redis://localhost", **options)


_END_AT_ONCE = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from flask_sse_hub import Publisher
publisher = Publisher(sys.argv[1], name="x")
gevent.joinall([gevent.spawn(publisher.publish, "x") for _ in range(20)])
publisher.close()
"""


@pytest.mark.parametrize("broker", ["sqlite", "redis"])
def test_a_process_may_end_right_after_closing(
    path: Path, broker: str, request: pytest.FixtureRequest
) -> None:
    """Its real threads are in the middle of what they do, beside gevent too."""
    url = f"sqlite:///{path}"
    if broker == "redis":
        url = request.getfixturevalue("redis_server").url
    for _ in range(5):
        command = [sys.executable, "-c", _END_AT_ONCE, url]
        subprocess.run(command, check=True, timeout=30.0)
