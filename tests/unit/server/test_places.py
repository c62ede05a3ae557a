"""Places: the requests that a server serves at once, and the files it may open."""

import logging
import resource
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from flask_sse_hub import ClientRefused
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.server.places import PlaceLedger, make_room, open_files
from tests.kit.hand import HandHub, HandSink


@dataclass(eq=False)
class SomeHub:
    sockets: int


def ledger(files: int | None) -> PlaceLedger:
    return PlaceLedger(lambda: None, files=lambda: files)


@pytest.fixture
def low_limit() -> Iterator[int]:
    """Lower the soft limit of this process, and restore it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(("files", "streams"), [(1024, 924), (65_536, 62_260), (50, 1)])
def test_some_descriptors_are_kept_from_streams(files: int, streams: int) -> None:
    """At the wall a worker is deaf, health checks included."""
    places = ledger(files)
    hub = SomeHub(streams - 1)
    places.count_sockets_of(hub)
    assert places.full() is None
    hub.sockets += 1
    assert f"{streams} of the {files} files" in (places.full() or "")


def test_every_kind_of_stream_takes_a_descriptor() -> None:
    """Hubs of several apps and answers share the limit of their process."""
    places = ledger(103)
    one, two = SomeHub(1), SomeHub(1)
    places.count_sockets_of(one)
    places.count_sockets_of(two)
    assert places.full() is None
    answer = object()
    places.take(answer)
    assert "RLIMIT_NOFILE" in (places.full() or "")
    places.give_back(answer)
    assert places.full() is None


def test_without_a_limit_no_stream_is_refused() -> None:
    """Windows has none."""
    places = ledger(None)
    places.count_sockets_of(hub := SomeHub(100_000))
    assert places.full() is None
    assert hub.sockets


def test_a_client_beyond_the_descriptors_is_refused_with_words() -> None:
    """A client whose socket was taken over takes no place, but a descriptor."""
    hub = HandHub(places=ledger(102))
    hub.stream(delivery_kind="socket")
    hub.stream(delivery_kind="socket")
    client = Client("c", identity=Identity(), sink=HandSink("socket"))
    with pytest.raises(ClientRefused, match="ulimit -n"):
        hub.hub.connect(client, last_event_id=None)


def test_a_hub_that_starts_raises_the_limit_for_its_clients(
    low_limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The soft limit is 1,024 on most systems. A process may raise it by itself."""
    caplog.set_level(logging.INFO)
    hub = HandHub(max_clients=800)
    for _ in range(3):
        hub.hub.start()
    expected = 1880 if low_limit == resource.RLIM_INFINITY else min(1880, low_limit)
    assert open_files() == expected
    assert caplog.text.count("raised from 1024") == (expected > 1024)


def test_a_limit_that_is_high_enough_is_left_alone(low_limit: int) -> None:
    """Nothing is lowered, and nothing raised without need."""
    make_room(10)
    assert open_files() == 1024
    make_room(0)
    assert open_files() == 1024
    assert low_limit
