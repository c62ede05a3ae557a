"""Admission: the limits of a worker, and who makes room."""

import pytest

from flask_sse_hub import (
    ClientRefused,
    CloseReason,
    TooManyStreams,
    address,
)
from flask_sse_hub.client import Identity
from tests.hand import (
    HandHub,
)

ALICE = address.user("alice")


class TestLimits:
    def test_the_oldest_stream_of_a_user_makes_room(self) -> None:
        """The tab that was opened last is the one that is looked at."""
        hub = HandHub(max_clients_per_user=2)
        streams = []
        for _ in range(3):
            streams.append(hub.stream(user="alice"))
            hub.clock.advance(1.0)
        other = hub.stream(user="bob")
        for stream in (*streams, other):
            stream.read()
        assert [stream.ended for stream in streams] == [True, False, False]
        assert streams[0].client.close_reason is CloseReason.EVICTED
        assert not other.ended

    def test_or_the_new_one_is_refused(self) -> None:
        """Where the app prefers it; other users are not concerned."""
        hub = HandHub(max_clients_per_user=1, evict_oldest=False)
        hub.stream(user="alice")
        with pytest.raises(TooManyStreams, match="1 streams open"):
            hub.open(user="alice")
        hub.open(user="bob")

    def test_anonymous_clients_are_nobodys(self) -> None:
        """A limit per user does not count those who have none."""
        hub = HandHub(max_clients_per_user=1, evict_oldest=False)
        hub.open()
        hub.open()
        assert hub.hub.stats().connections == 2


class TestWhatReviewsFound:
    """Faults that were seen once, each provoked as it was found."""

    def test_the_limit_counts_those_who_are_just_coming(self) -> None:
        """However many are let in at the same moment."""
        hub = HandHub(max_clients=2)
        hub.hub.admission._entering = [Identity(), Identity()]
        with pytest.raises(ClientRefused):
            hub.open()

    def test_an_evicted_client_comes_back_late(self) -> None:
        """At once it would evict the next one, which would do the same."""
        hub = HandHub(max_clients_per_user=1)
        first = hub.stream(user="alice")
        hub.clock.advance(1.0)
        hub.stream(user="alice")
        first.read()
        assert first.parser.retry_ms is not None
        assert 10_000 <= first.parser.retry_ms <= 30_000
