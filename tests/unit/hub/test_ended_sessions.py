"""Streams that are opened during a logout: none of them survives it.

The follower is held: a worker reads the record of the logout only when the test says.
"""

import pytest

from flask_sse_hub import CloseReason, Event
from flask_sse_hub.brokers import Broker
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.events.record import Cursor, Record, Retention
from tests.kit.hand import KEEP_ALL, HandHub
from tests.kit.sockets import peers
from tests.unit.brokers.conftest import MakeBroker

# The session's ids of a cookie or a ticket, of a remembered login whose id was minted
# late, and of one that has no id yet.
MINTED = address.session("minted")
LATE = address.session("late:minted")
UNNAMED = address.session("unnamed:alice")

EVENT = Record((BROADCAST,), Event("x"))


@pytest.fixture
def broker(make_broker: MakeBroker) -> Broker:
    return make_broker(KEEP_ALL)


def end(hub: HandHub, owner: Address, *, final: bool) -> Cursor:
    """End a session; return the head of the log, with the logout in it."""
    hub.hub.disconnect(
        (owner,), reason=CloseReason.SESSION_ENDED, final=final, beside=False
    )
    return hub.broker.head()


@pytest.mark.parametrize(
    ("owner", "final"), [(MINTED, True), (LATE, True), (UNNAMED, False)]
)
class TestTheEndOfASession:
    def test_it_ends_streams_that_came_before_it_was_read(
        self, broker: Broker, owner: Address, final: bool
    ) -> None:
        """Their request noted the log's head before the logout, or after it."""
        here, there = HandHub(broker), HandHub(broker)
        session = address.name_of(owner)
        heads = broker.head(), end(here, owner, final=final)
        streams = [
            there.stream(user="alice", session=session, since=head) for head in heads
        ]
        other = there.stream(user="alice", session="another", since=heads[1])
        there.publish("secret", to=address.user("alice"))
        there.bring()
        for stream in streams:
            assert stream.data() == []
            assert stream.client.close_reason is CloseReason.SESSION_ENDED
        assert other.data() == ["secret"]

    def test_it_ends_sockets_that_were_taken_over(
        self, broker: Broker, owner: Address, final: bool
    ) -> None:
        """The fan-out behind the logout does not reach them."""
        here, there = HandHub(broker), HandHub(broker)
        session = address.name_of(owner)
        with peers(there, user="alice", session=session) as (peer,):
            # As if the request had come after the logout.
            peer.client.since = end(here, owner, final=final)
            there.publish("secret", to=address.user("alice"))
            peer.read_to_the_end()
            assert peer.data == []
            assert peer.client.close_reason is CloseReason.SESSION_ENDED
        here.hub.close()


@pytest.mark.parametrize("owner", [MINTED, LATE])
def test_a_session_that_has_ended_opens_no_stream(
    broker: Broker, owner: Address
) -> None:
    """Its cookie or its ticket was read before the logout, or is a copy."""
    here, there = HandHub(broker), HandHub(broker)
    head = end(here, owner, final=True)
    there.bring()
    for hub in (here, there):
        stream = hub.stream(session=address.name_of(owner), since=head)
        assert stream.client.close_reason is CloseReason.SESSION_ENDED


@pytest.mark.parametrize("owner", [MINTED, LATE])
def test_a_worker_that_starts_later_knows_of_it(
    make_broker: MakeBroker, owner: Address
) -> None:
    """The record of the logout has left the log since."""
    broker = make_broker(Retention(events=1, seconds=3600.0, bytes=1_000_000))
    end(HandHub(broker), owner, final=True)
    for _ in range(3):
        broker.publish(EVENT)
    hub = HandHub(broker)
    assert hub.hub.has_ended(owner)
    stream = hub.stream(session=address.name_of(owner), since=broker.head())
    assert stream.client.close_reason is CloseReason.SESSION_ENDED


def test_a_worker_learns_of_it_after_a_gap(make_broker: MakeBroker) -> None:
    """The record of the logout is among those that the worker has missed."""
    broker = make_broker(Retention(events=1, seconds=3600.0, bytes=1_000_000))
    here, there = HandHub(broker), HandHub(broker)
    end(here, MINTED, final=True)
    for _ in range(3):
        broker.publish(EVENT)
    there.bring()
    assert there.hub.has_ended(MINTED)


def test_a_disconnect_concerns_streams_whose_user_was_loaded_before_it(
    broker: Broker,
) -> None:
    """A user may come back at once after it, also to a worker that is behind."""
    here, there = HandHub(broker), HandHub(broker)
    alice = address.user("alice")
    before = broker.head()
    here.hub.disconnect((alice,), reason=CloseReason.DISCONNECTED, beside=False)
    in_flight = there.stream(user="alice", since=before)
    back = there.stream(user="alice", since=broker.head())
    there.bring()
    assert in_flight.client.close_reason is CloseReason.DISCONNECTED
    assert back.client.close_reason is None


def test_many_connects_around_many_logouts_leave_no_stream(broker: Broker) -> None:
    """Each connect comes to one worker at one step of a logout at the other one."""
    here, there = HandHub(broker), HandHub(broker, max_clients_per_user=None)
    streams = []

    def connect(session: str) -> None:
        streams.append(there.stream(user="alice", session=session))

    for number in range(20):
        session = f"session-{number}"
        connect(session)
        there.follow()
        connect(session)
        end(here, address.session(session), final=True)
        connect(session)
        there.follow()
        connect(session)
        there.bring()
        connect(session)
    assert len(streams) == 100
    reasons = {stream.client.close_reason for stream in streams}
    assert reasons == {CloseReason.SESSION_ENDED}
