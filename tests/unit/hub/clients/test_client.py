"""The client: its identity, its addresses and its appearance in logs and stats."""

import pytest

from flask_sse_hub import InvalidName
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.hub.clients.client import Client, Identity
from tests.kit.hand import HandSink


def test_an_anonymous_client_has_no_user_address() -> None:
    """Anonymous clients share no address except the one for broadcasts."""
    client = Client("c", identity=Identity(), sink=HandSink())
    assert set(client.addresses) == {BROADCAST, address.client("c")}
    assert client.owners == (address.client("c"),)


@pytest.mark.parametrize("personal", [True, False])
@pytest.mark.parametrize(
    "identity", [Identity(u, s) for u in (None, "7") for s in (None, "i:u:s")]
)
def test_a_client_tells_its_user_and_session_apart(
    identity: Identity, personal: bool
) -> None:
    """The ids lie in its addresses, at the end, whatever its channels are called."""
    client = Client("c", identity=identity, channels=("u:8", "s:t"), personal=personal)
    assert client.id == "c"
    assert client.identity == identity
    assert client.user == identity.user


def test_a_channel_named_twice_counts_once() -> None:
    """?channel=a&channel=a does not deliver events twice."""
    client = Client("c", identity=Identity(), channels=("a", "a"), sink=HandSink())
    assert client.addresses.count(address.channel("a")) == 1


def test_a_client_id_must_be_a_valid_name() -> None:
    """The id is written into the stream's first event and into logs."""
    with pytest.raises(InvalidName):
        Client("a\nb", identity=Identity(), sink=HandSink())


def test_no_metadata_is_an_empty_dict() -> None:
    """Receivers of signals do not have to check for None."""
    assert Client("c", identity=Identity(), sink=HandSink()).metadata == {}


def test_a_client_lags_once_a_write_takes_over_a_second() -> None:
    """Statistics show lagging clients before they are closed for not reading."""
    sink = HandSink()
    client = Client("c", identity=Identity(), sink=sink)
    assert not client.lags(now=100.0)
    sink.writing_since = 99.5
    assert not client.lags(now=100.0)
    sink.writing_since = 98.0
    assert client.lags(now=100.0)


def test_a_clients_repr_has_no_raw_control_characters() -> None:
    """An id from outside cannot forge a line of the log."""
    client = Client("c", identity=Identity("7\x1b[2J"), sink=HandSink())
    assert "\x1b" not in repr(client)
