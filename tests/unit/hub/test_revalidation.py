"""Revalidation: every user is checked once per interval, spread over the interval."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from flask_sse_hub.hub.clients.client import Client
from flask_sse_hub.hub.clients.close_reason import CloseReason
from flask_sse_hub.hub.revalidation import Revalidation
from tests.kit.hand import HandHub
from tests.kit.reader import DEADLINE, wait_until

INTERVAL = 100.0

#: Any grant other than None, so that the client is checked.
GRANT = object()


class Asked:
    """A judge that records the users it was asked about, and when."""

    def __init__(self, hub: HandHub, *, interval: float = INTERVAL) -> None:
        self.hub = hub
        self.times: dict[str, list[float]] = {}
        self.lost: set[str] = set()
        self.failing: set[str] = set()
        self.hanging = threading.Event()
        self.revalidation = Revalidation(hub.parts, self, interval=interval)

    def __call__(self, clients: Sequence[Client]) -> list[Client]:
        key = clients[0].identity.user or clients[0].id
        self.times.setdefault(key, []).append(self.hub.clock.now)
        if key.startswith("stuck"):
            self.hanging.wait(DEADLINE)
        if key in self.failing:
            raise OSError("the database is away")
        return [client for client in clients if key in self.lost]

    def run(self, seconds: float, *, step: float = 5.0) -> None:
        """Let the time pass, one look after another."""
        end = self.hub.clock.now + seconds
        while self.hub.clock.now < end:
            since = self.hub.clock.now
            self.hub.clock.advance(step)
            self.revalidation.look(since=since, now=self.hub.clock.now)


@pytest.fixture
def hub() -> HandHub:
    # No stream ends by its age, and no client is evicted, in the tests of this file.
    return HandHub(max_age=1e9, max_clients_per_user=None)


@pytest.fixture
def asked(hub: HandHub) -> Asked:
    return Asked(hub)


def test_every_user_is_checked_within_the_interval(hub: HandHub, asked: Asked) -> None:
    """This holds from the start of a stream and from each check to the next."""
    for number in range(200):
        hub.stream(user=f"user-{number}", grant=GRANT)
    start = hub.clock.now
    asked.run(10 * INTERVAL)
    assert len(asked.times) == 200
    for times in asked.times.values():
        moments = [start, *times]
        waits = [later - sooner for sooner, later in zip(moments, times, strict=False)]
        assert max(waits) <= INTERVAL


def test_checks_are_spread_over_the_interval(hub: HandHub, asked: Asked) -> None:
    """Many users that came at the same moment are not all loaded at once."""
    for number in range(1000):
        hub.stream(user=f"user-{number}", grant=GRANT)
    asked.run(INTERVAL)
    at_once = Counter(time for times in asked.times.values() for time in times)
    assert max(at_once.values()) < 150


def test_a_user_is_checked_once_for_all_streams(hub: HandHub, asked: Asked) -> None:
    """Ten tabs of a user are loaded once and not ten times."""
    for _ in range(10):
        hub.stream(user="alice", grant=GRANT)
    asked.run(0.9 * INTERVAL)
    assert len(asked.times["alice"]) == 1


def test_a_user_who_may_no_longer_listen_loses_all_streams(
    hub: HandHub, asked: Asked
) -> None:
    """Streams of other users stay open."""
    streams = [hub.stream(user="alice", grant=GRANT) for _ in range(2)]
    other = hub.stream(user="bob", grant=GRANT)
    asked.lost = {"alice"}
    asked.run(INTERVAL)
    for stream in (*streams, other):
        stream.read()
    reasons = [stream.client.close_reason for stream in (*streams, other)]
    assert reasons == [CloseReason.REVOKED, CloseReason.REVOKED, None]


def test_anonymous_streams_are_checked_one_by_one(hub: HandHub, asked: Asked) -> None:
    """Anonymous streams have no user in common."""
    for number in range(3):
        hub.stream(client_id=f"c{number}", grant=GRANT)
    asked.run(0.9 * INTERVAL)
    assert set(asked.times) == {"c0", "c1", "c2"}


def test_a_stream_without_a_grant_is_not_checked(hub: HandHub, asked: Asked) -> None:
    """Such a stream has no user and only public channels."""
    hub.stream()
    asked.run(2 * INTERVAL)
    assert asked.times == {}


class TestFailures:
    def test_a_user_whose_loading_fails_stays_and_is_checked_soon(
        self, hub: HandHub, asked: Asked
    ) -> None:
        """A database that is away signs no user out, and no user is forgotten."""
        stream = hub.stream(user="alice", grant=GRANT)
        asked.failing = {"alice"}
        asked.run(INTERVAL)
        assert len(asked.times["alice"]) > 1
        assert stream.client.close_reason is None
        asked.failing, asked.lost = set(), {"alice"}
        asked.run(5.0)
        assert stream.client.close_reason is CloseReason.REVOKED

    def test_a_database_that_is_away_is_not_asked_for_every_user(
        self, hub: HandHub, asked: Asked
    ) -> None:
        """Each call may take long until it fails."""
        users = {f"user-{number}" for number in range(100)}
        for user in users:
            hub.stream(user=user, grant=GRANT)
        asked.failing = users
        asked.run(INTERVAL, step=INTERVAL)
        assert len(asked.times) < 10
        asked.failing = set()
        asked.run(5.0)
        assert set(asked.times) == users

    def test_failing_users_do_not_keep_others_from_being_checked(
        self, hub: HandHub, asked: Asked
    ) -> None:
        """The failing users are tried again, but other users are still checked."""
        asked.failing = {f"broken-{number}" for number in range(4)}
        for user in [*asked.failing, *(f"user-{number}" for number in range(20))]:
            hub.stream(user=user, grant=GRANT)
        asked.run(3 * INTERVAL)
        assert {f"user-{number}" for number in range(20)} <= set(asked.times)

    def test_a_failure_is_logged_once(
        self, hub: HandHub, asked: Asked, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The error is not logged again at every look until loading works again."""
        hub.stream(user="alice", grant=GRANT)
        asked.failing = {"alice"}
        with caplog.at_level(logging.ERROR):
            asked.run(2 * INTERVAL)
        assert len(caplog.records) == 1
        assert "'alice'" in caplog.text

    def test_without_room_for_a_thread_users_are_checked_soon(
        self, hub: HandHub, asked: Asked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The hub lives on, and no check waits for an answer that never comes."""
        streams = [hub.stream(user=f"user-{n}", grant=GRANT) for n in range(10)]
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_room)
            asked.run(INTERVAL)
        assert asked.times == {}
        asked.lost = {f"user-{n}" for n in range(10)}
        asked.run(5.0)
        reasons = {stream.client.close_reason for stream in streams}
        assert reasons == {CloseReason.REVOKED}


def _no_room(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class TestLoadersThatDoNotReturn:
    # A look waits for a twentieth of it, by the real clock.
    INTERVAL = 0.2

    @pytest.fixture
    def asked(self, hub: HandHub) -> Iterator[Asked]:
        asked = Asked(hub, interval=self.INTERVAL)
        yield asked
        asked.hanging.set()

    def test_a_hanging_loader_does_not_delay_others(
        self, hub: HandHub, asked: Asked
    ) -> None:
        """The streams of other users end as soon as ever."""
        streams = [hub.stream(user=f"user-{n}", grant=GRANT) for n in range(20)]
        hub.stream(user="stuck", grant=GRANT)
        asked.lost = {f"user-{n}" for n in range(20)}
        asked.run(2 * self.INTERVAL, step=0.01)
        assert len(asked.times["stuck"]) == 1
        reasons = {stream.client.close_reason for stream in streams}
        assert reasons == {CloseReason.REVOKED}

    def test_a_hanging_loader_is_logged(
        self, hub: HandHub, asked: Asked, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log names the user, once."""
        hub.stream(user="stuck", grant=GRANT)
        asked.run(4 * self.INTERVAL, step=0.01)
        assert caplog.text.count("whether 'stuck' may still listen") == 1

    def test_only_a_few_loaders_hang_at_one_time(
        self, hub: HandHub, asked: Asked
    ) -> None:
        """They take no more of the app's connections; all users are checked later."""
        users = {f"stuck-{n}" for n in range(10)}
        for user in users:
            hub.stream(user=user, grant=GRANT)
        asked.run(2 * self.INTERVAL, step=0.01)
        assert len(asked.times) == 4
        asked.hanging.set()
        wait_until(lambda: not asked.revalidation._asked)
        asked.run(self.INTERVAL, step=0.01)
        assert set(asked.times) == users


def test_revalidation_ends_with_its_worker(hub: HandHub, asked: Asked) -> None:
    """A worker that shuts down has no clients left to check."""
    hub.parts.admission.closed = True
    Revalidation(hub.parts, asked, interval=0.01).run(hub.hub.closed)
    hub.parts.admission.closed = False
    hub.hub.closed.set()
    Revalidation(hub.parts, asked, interval=0.01).run(hub.hub.closed)
