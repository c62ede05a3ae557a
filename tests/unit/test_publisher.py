"""Publishing from outside the app."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub import (
    BrokerUnavailable,
    ConfigurationError,
    Event,
    EventTooLarge,
    InvalidEvent,
    InvalidOption,
    InvalidTarget,
    Publisher,
    SSEHub,
)
from flask_sse_hub.brokers import create_broker
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import ChannelBounds, Record, Retention
from tests.conftest import User
from tests.kit.hand import KEEP_ALL
from tests.kit.redis_server import RedisServer

EVENT = Record((BROADCAST,), Event("x"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def publisher(path: Path) -> Iterator[Publisher]:
    publisher = Publisher(f"sqlite:///{path}", create=True, max_event_bytes=100)
    yield publisher
    publisher.close()


@pytest.fixture
def log(path: Path) -> Iterator[SQLiteBroker]:
    broker = SQLiteBroker(path, KEEP_ALL)
    yield broker
    broker.close()


def test_an_event_is_in_the_apps_log(publisher: Publisher, log: SQLiteBroker) -> None:
    """The event has its type, targets and all other arguments of publish()."""
    start = log.head()
    event_id = publisher.publish(
        {"a": 1},
        type="t",
        user=7,
        channel=["x", "y"],
        exclude_client="c",
        retry=2.0,
        ttl=5,
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
    assert record.ttl == 5.0


def test_channels_may_have_a_ttl(path: Path, log: SQLiteBroker) -> None:
    """The Publisher does not know the app's settings, so it is given the patterns."""
    start = log.head()
    publisher = Publisher(f"sqlite:///{path}", ttl={"typing.*": 5})
    publisher.publish("x", channel="typing.7")
    publisher.publish("x", channel="chat.7")
    publisher.close()
    assert [each.ttl for each in log.replay(start, page=9).records] == [5.0, None]
    with pytest.raises(InvalidOption, match="a dict of channel patterns"):
        Publisher(f"sqlite:///{path}", ttl=5)  # type: ignore[arg-type]


def test_channels_may_have_a_history(path: Path, log: SQLiteBroker) -> None:
    """The Publisher does not know the app's settings, so it is given the patterns."""
    start = log.head()
    publisher = Publisher(f"sqlite:///{path}", history={"chat.*": {"events": 9}})
    publisher.publish("x", channel="chat.7")
    publisher.publish("x", channel="news")
    publisher.close()
    records = log.replay(start, page=9).records
    assert [each.bounds for each in records] == [ChannelBounds(events=9), None]
    with pytest.raises(InvalidOption, match="history cannot be used"):
        Publisher(f"sqlite:///{path}", history={"chat.*": {}})


def test_a_user_object_stands_for_its_id(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """A job that has loaded a user addresses it as the app does."""
    start = log.head()
    publisher.publish("x", user=User("alice"))
    (record,) = log.replay(start, page=9).records
    assert record.addresses == (address.user("alice"),)


def test_an_event_object_is_published_unchanged(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """An Event keeps the type and the retry that it was made with."""
    start = log.head()
    publisher.publish(Event("x", type="t", retry=2.0))
    (record,) = log.replay(start, page=9).records
    assert record.content == Event("x", type="t", retry=2.0)


def test_publish_has_the_same_arguments_as_the_apps() -> None:
    """A call can be moved into a job without a change."""
    assert signature(Publisher.publish) == signature(SSEHub.publish)


def test_an_idempotency_key_holds_across_processes(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """A job that is run twice publishes once."""
    first = publisher.publish("x", idempotency_key="job 7")
    again = Record((BROADCAST,), Event("x"), idempotency_key="job 7")
    assert str(log.publish(again)) == first


def test_bad_input_is_refused_as_in_the_app(publisher: Publisher) -> None:
    """A user of None, data without a JSON form and too much data are refused."""
    with pytest.raises(InvalidTarget):
        publisher.publish("x", user=None)  # type: ignore[call-overload]
    with pytest.raises(InvalidEvent):
        publisher.publish(date(2026, 1, 1))
    with pytest.raises(EventTooLarge, match="100 are allowed"):
        publisher.publish("x" * 101)


def test_the_json_writer_is_configurable(path: Path) -> None:
    """The app's own JSON provider can be used."""
    publisher = Publisher(
        f"sqlite:///{path}",
        create=True,
        dumps=lambda data: json.dumps(data, default=str),
    )
    publisher.publish(date(2026, 1, 1))
    publisher.close()


def test_the_publisher_keeps_as_much_of_the_log_as_the_app(
    publisher: Publisher, path: Path
) -> None:
    """The publisher has no retention setting; the app notes its own in the log."""
    log = SQLiteBroker(path, Retention(events=3, seconds=3600.0, bytes=10_000_000))
    log.publish(EVENT)
    for _ in range(9):
        publisher.publish("x")
    assert len(log.replay(log.tail(10**9), page=99).records) == 3
    log.close()


class TestALogThatNoAppHasBegun:
    """Its path is probably mistyped; success would be a lie."""

    def test_a_publisher_refuses_it_and_creates_nothing(self, tmp_path: Path) -> None:
        """Neither the file nor its folder is made."""
        publisher = Publisher(f"sqlite:///{tmp_path}/instanec/hub.db")
        with pytest.raises(BrokerUnavailable, match=r"instanec/hub\.db: no app has"):
            publisher.publish("x")
        assert list(tmp_path.iterdir()) == []
        publisher.close()

    def test_another_database_is_left_alone(self, path: Path) -> None:
        """The path may be that of the app's own database."""
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE customer (name)")
        before = path.read_bytes()
        publisher = Publisher(f"sqlite:///{path}")
        with pytest.raises(BrokerUnavailable, match="create=True"):
            publisher.publish("x")
        publisher.close()
        assert path.read_bytes() == before

    def test_a_log_that_only_publishers_use_is_refused(
        self, publisher: Publisher, path: Path
    ) -> None:
        """No app has noted there how much to keep, so nothing is ever trimmed."""
        publisher.publish("x")
        another = Publisher(f"sqlite:///{path}")
        with pytest.raises(BrokerUnavailable, match="no app has begun"):
            another.publish("x")
        another.close()

    def test_a_name_that_no_app_has_is_refused(self, redis_server: RedisServer) -> None:
        """A mistyped name or database in Redis reaches nobody either."""
        mistyped = Publisher(redis_server.url, name="no-such-app")
        with pytest.raises(BrokerUnavailable, match="no app has begun a log of this"):
            mistyped.publish("x")
        mistyped.close()
        assert redis_server.run("KEYS", "*no-such-app*") == []
        first = Publisher(redis_server.url, name="no-such-app", create=True)
        first.publish("x")
        first.close()
        with pytest.raises(BrokerUnavailable, match="create=True"):
            Publisher(redis_server.url, name="no-such-app").publish("x")

    @pytest.mark.parametrize("begins", ["head", "publish"])
    def test_an_app_begins_a_log_in_redis(
        self, redis_server: RedisServer, begins: str
    ) -> None:
        """By its first worker or its first event, also after a publisher's."""
        name = f"begun-by-{begins}"
        first = Publisher(redis_server.url, name=name, create=True)
        first.publish("x")
        first.close()
        app = create_broker(redis_server.url, KEEP_ALL, folder=Path("/"), name=name)
        if begins == "head":
            app.tail(100)
        else:
            app.publish(Record((BROADCAST,), Event("x")))
        app.close()
        publisher = Publisher(redis_server.url, name=name)
        assert publisher.publish("x")
        publisher.close()

    def test_the_publisher_works_once_the_app_has_started(
        self, path: Path, log: SQLiteBroker
    ) -> None:
        """A job may start before the app does."""
        publisher = Publisher(f"sqlite:///{path}")
        with pytest.raises(BrokerUnavailable):
            publisher.publish("x")
        start = log.head()
        assert publisher.publish("x") == f"{start.epoch}-{start.offset + 1}"
        publisher.close()


def test_without_an_app_the_publisher_trims_nothing(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """Only the app decides how much of the log is kept."""
    for _ in range(9):
        publisher.publish("x")
    assert len(log.replay(log.tail(10**9), page=99).records) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_connections_of_its_own(
    publisher: Publisher, log: SQLiteBroker
) -> None:
    """Celery forks its workers from a process that may have published."""
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
        ("memory://", "does not leave the app's process"),
        ("sqlite:///hub.db", "absolute"),
        ("redis://localhost", "SSE_HUB_NAME"),
        ("http://localhost", "use memory"),
        ("", "use memory"),
        (None, "must be a str"),
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: Any, text: str) -> None:
    """The error says what to write instead."""
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
        ({"name": "x", "max_event_bytes": True}, "max_event_bytes"),
        ({"name": "x", "max_event_bytes": 16_777_217}, "from 1 to 16777216"),
        ({"name": "x", "dumps": None}, "dumps"),
    ],
)
def test_options_that_cannot_work_are_refused_at_once(
    options: dict[str, Any], text: str
) -> None:
    """The mistake does not show only later, by an event that never arrives."""
    with pytest.raises(ConfigurationError, match=text):
        Publisher("redis://localhost", **options)


#: Five children one after the other, each of which ends as a process does.
_END_AT_ONCE = """
from gevent import monkey; monkey.patch_all()
import os, sys, gevent
from flask_sse_hub import Publisher
for _ in range(5):
    child = os.fork()
    if not child:
        publisher = Publisher(sys.argv[1], name="x", create=True)
        gevent.joinall([gevent.spawn(publisher.publish, "x") for _ in range(20)])
        publisher.close()
        break
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("broker", ["sqlite", "redis"])
def test_a_process_may_end_right_after_closing(
    path: Path, broker: str, request: pytest.FixtureRequest
) -> None:
    """Real threads may be busy at that moment, beside gevent too."""
    url = f"sqlite:///{path}"
    if broker == "redis":
        url = request.getfixturevalue("redis_server").url
    command = [sys.executable, "-c", _END_AT_ONCE, url]
    subprocess.run(command, check=True, timeout=150.0)
