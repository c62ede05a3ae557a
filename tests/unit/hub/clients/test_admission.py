"""Admission: the limits of a worker, and the streams that are ended to make room."""

from contextlib import ExitStack

import pytest

from flask_sse_hub import ClientRefused, CloseReason, TooManyStreams
from flask_sse_hub.hub.clients.admission import GENERATOR
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.server.places import PlaceLedger
from flask_sse_hub.server.surroundings import Places
from tests.kit.hand import HandHub, HandSink


def hub_with_places(at_once: int) -> HandHub:
    return HandHub(places=PlaceLedger(lambda: Places(at_once, "threads")))


class TestLimits:
    def test_the_oldest_stream_of_a_user_makes_room(self) -> None:
        """The most recently opened tab is probably the one that the user looks at."""
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

    def test_the_new_stream_is_refused_if_so_configured(self) -> None:
        """With evict_oldest=False the limit refuses. Other users are not affected."""
        hub = HandHub(max_clients_per_user=1, evict_oldest=False)
        hub.stream(user="alice")
        with pytest.raises(TooManyStreams, match="1 streams open"):
            hub.open(user="alice")
        hub.open(user="bob")

    def test_the_limit_per_user_ignores_anonymous_clients(self) -> None:
        """Anonymous clients are not counted as one user."""
        hub = HandHub(max_clients_per_user=1, evict_oldest=False)
        hub.open()
        hub.open()
        assert hub.hub.stats().connections == 2


class TestPlaces:
    """A server's places: each stream by generator takes one of them."""

    @pytest.mark.parametrize(
        ("at_once", "for_streams"),
        [(1000, 950), (210, 200), (20, 19), (9, 8), (2, 1), (1, 1)],
    )
    def test_some_places_are_kept_for_ordinary_requests(
        self, at_once: int, for_streams: int
    ) -> None:
        """A twentieth is kept, and at least one, but one stream is always possible."""
        assert Places(at_once, "threads").for_streams == for_streams

    def test_a_stream_beyond_the_places_is_refused(self) -> None:
        """The worker keeps serving requests, and the error text names the setting."""
        hub = hub_with_places(3)
        streams = [hub.stream(delivery_kind=GENERATOR) for _ in range(2)]
        with pytest.raises(ClientRefused, match=r"2 of the 3 .*\(threads\)"):
            hub.open(delivery_kind=GENERATOR)
        streams[0].drop()
        hub.open(delivery_kind=GENERATOR)

    def test_places_count_clients_that_are_still_connecting(self) -> None:
        """Clients that connect at the same moment cannot exceed the limit together."""
        hub = hub_with_places(2)
        client = Client(
            "c", identity=Identity(), sink=HandSink(delivery_kind=GENERATOR)
        )
        with (
            hub.parts.admission.entering(client),
            pytest.raises(ClientRefused, match="threads"),
        ):
            hub.open(delivery_kind=GENERATOR)

    def test_streams_on_sockets_of_their_own_take_no_place(self) -> None:
        """The request of such a stream is already over."""
        hub = hub_with_places(2)
        for _ in range(5):
            hub.open(delivery_kind="socket")


class TestStreamsPerAddress:
    def test_a_client_that_fails_to_enter_is_not_counted(self) -> None:
        """Otherwise failed attempts would lock an address out."""
        admission = HandHub(max_clients_per_ip=1).parts.admission
        client = Client("c", identity=Identity(), ip="192.0.2.1", sink=HandSink())
        with pytest.raises(OSError), admission.entering(client):
            raise OSError
        admission.check(Identity(), "192.0.2.1")

    def test_a_client_that_leaves_is_counted_off_once(self) -> None:
        """Several parts may notice the end of the same stream."""
        hub = HandHub(max_clients_per_ip=1)
        first = hub.stream(ip="192.0.2.1")
        first.drop()
        first.drop()
        hub.stream(ip="192.0.2.1")
        with pytest.raises(TooManyStreams, match="1 streams are open from one network"):
            hub.open(ip="192.0.2.1")
        hub.open(ip="192.0.2.2")


class TestTheLog:
    def test_refusals_are_logged_now_and_then(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Refused clients may return as often as they like without filling the disk."""
        hub = HandHub(max_clients=1, max_clients_per_user=1, evict_oldest=False)
        hub.stream(user="alice")
        for _ in range(5):
            with pytest.raises(ClientRefused):
                hub.open()
        assert len(caplog.records) == 1
        hub.clock.advance(60.0)
        with pytest.raises(ClientRefused):
            hub.open()
        assert "this worker holds 1 clients (4 more since" in caplog.text


class TestWhatReviewsFound:
    """Regressions: faults found in reviews, each provoked as it was found."""

    def test_the_limit_counts_clients_that_are_still_connecting(self) -> None:
        """Clients that connect at the same moment cannot exceed the limit together."""
        hub = HandHub(max_clients=2)
        with ExitStack() as on_the_way:
            for _ in range(2):
                client = Client("c", identity=Identity(), sink=HandSink())
                on_the_way.enter_context(hub.parts.admission.entering(client))
            with pytest.raises(ClientRefused):
                hub.open()
        hub.open()

    def test_the_limit_per_user_counts_clients_that_are_still_connecting(self) -> None:
        """All sessions of a user count: two browsers, or a browser and a ticket."""
        hub = HandHub(max_clients_per_user=1, evict_oldest=False)
        coming = Client("c", identity=Identity("alice", "one"), sink=HandSink())
        with hub.parts.admission.entering(coming):
            with pytest.raises(TooManyStreams):
                hub.open(user="alice", session="another")
            hub.open(user="bob")

    def test_an_evicted_client_comes_back_late(self) -> None:
        """An immediate return would evict the next client, which would do the same."""
        hub = HandHub(max_clients_per_user=1)
        first = hub.stream(user="alice")
        hub.clock.advance(1.0)
        hub.stream(user="alice")
        first.read()
        assert first.parser.retry_ms is not None
        assert 10_000 <= first.parser.retry_ms <= 30_000
