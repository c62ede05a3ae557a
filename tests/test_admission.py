"""Admission: the limits of a worker, and who makes room."""

from contextlib import ExitStack

import pytest

from flask_sse_hub import ClientRefused, CloseReason, TooManyStreams
from flask_sse_hub.hub.clients.admission import GENERATOR, Places
from flask_sse_hub.hub.clients.client import Client, Identity
from tests.hand import HandHub, HandSink


def hub_with_places(at_once: int) -> HandHub:
    hub = HandHub()
    hub.hub.admission.places = Places(at_once, "threads")
    return hub


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


class TestPlaces:
    """What a server serves at once, where each stream takes one place of it."""

    @pytest.mark.parametrize(
        ("at_once", "for_streams"),
        [(1000, 950), (210, 200), (20, 19), (9, 8), (2, 1), (1, 1)],
    )
    def test_some_are_kept_for_ordinary_requests(
        self, at_once: int, for_streams: int
    ) -> None:
        """A twentieth, and at least one; but a stream has one too."""
        assert Places(at_once, "threads").for_streams == for_streams

    def test_beyond_that_a_stream_is_refused(self) -> None:
        """Before the worker answers nothing else; the text names the setting."""
        hub = hub_with_places(3)
        streams = [hub.stream(path=GENERATOR) for _ in range(2)]
        with pytest.raises(ClientRefused, match=r"2 of the 3 .*\(threads\)"):
            hub.open(path=GENERATOR)
        streams[0].drop()
        hub.open(path=GENERATOR)

    def test_it_counts_those_who_are_just_coming(self) -> None:
        """However many are let in at the same moment."""
        hub = hub_with_places(2)
        client = Client("c", identity=Identity(), sink=HandSink(path=GENERATOR))
        with (
            hub.hub.admission.entering(client),
            pytest.raises(ClientRefused, match="threads"),
        ):
            hub.open(path=GENERATOR)

    def test_streams_on_sockets_of_their_own_take_none(self) -> None:
        """Their requests are over."""
        hub = hub_with_places(2)
        for _ in range(5):
            hub.open(path="socket")


class TestStreamsPerAddress:
    def test_who_fails_to_enter_is_not_counted(self) -> None:
        """Or an address would be shut out by its failures."""
        admission = HandHub(max_clients_per_ip=1).hub.admission
        client = Client("c", identity=Identity(), ip="192.0.2.1", sink=HandSink())
        with pytest.raises(OSError), admission.entering(client):
            raise OSError
        admission.check(Identity(), "192.0.2.1")

    def test_who_leaves_is_counted_off_once(self) -> None:
        """However many notice the end of a stream."""
        hub = HandHub(max_clients_per_ip=1)
        first = hub.stream(ip="192.0.2.1")
        first.drop()
        first.drop()
        hub.stream(ip="192.0.2.1")
        with pytest.raises(TooManyStreams, match="1 streams are open from one network"):
            hub.open(ip="192.0.2.1")
        hub.open(ip="192.0.2.2")


class TestTheLog:
    def test_hears_of_refusals_now_and_then(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Anybody can be refused as often as they like: that fills no disk."""
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
    """Faults that were seen once, each provoked as it was found."""

    def test_the_limit_counts_those_who_are_just_coming(self) -> None:
        """However many are let in at the same moment."""
        hub = HandHub(max_clients=2)
        with ExitStack() as on_the_way:
            for _ in range(2):
                client = Client("c", identity=Identity(), sink=HandSink())
                on_the_way.enter_context(hub.hub.admission.entering(client))
            with pytest.raises(ClientRefused):
                hub.open()
        hub.open()

    def test_so_does_the_limit_of_a_user(self) -> None:
        """Whichever session they come with: two browsers, or a ticket beside one."""
        hub = HandHub(max_clients_per_user=1, evict_oldest=False)
        coming = Client("c", identity=Identity("alice", "one"), sink=HandSink())
        with hub.hub.admission.entering(coming):
            with pytest.raises(TooManyStreams):
                hub.open(user="alice", session="another")
            hub.open(user="bob")

    def test_an_evicted_client_comes_back_late(self) -> None:
        """At once it would evict the next one, which would do the same."""
        hub = HandHub(max_clients_per_user=1)
        first = hub.stream(user="alice")
        hub.clock.advance(1.0)
        hub.stream(user="alice")
        first.read()
        assert first.parser.retry_ms is not None
        assert 10_000 <= first.parser.retry_ms <= 30_000
