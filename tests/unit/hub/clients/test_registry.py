"""The registry: clients by the addresses they listen to and belong to."""

from typing import Any, cast

from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.coding import IDENTITY
from flask_sse_hub.hub.clients.client import Client, Connection, Identity
from flask_sse_hub.hub.clients.registry import ClientRegistry
from tests.kit.hand import HandSink


def client(
    name: str, *channels: str, user: str | None = None, personal: bool = True
) -> Client:
    return Client(
        name,
        identity=Identity(user, f"session-of-{name}"),
        channels=channels,
        sink=HandSink(),
        personal=personal,
    )


def registry_of(*clients: Client) -> ClientRegistry:
    registry = ClientRegistry()
    for each in clients:
        registry.add(each)
    return registry


def reach(registry: ClientRegistry, *addresses: address.Address, **options: Any) -> Any:
    given: dict[str, Any] = {"exclude": (), "events": 2, "bytes": 10, "now": 5.0}
    given |= options
    return registry.reach(addresses, **given)


def listening(registry: ClientRegistry, *addresses: address.Address) -> list[Client]:
    """Return the clients found at the addresses; none has a connection of its own."""
    found: list[Client] = reach(registry, *addresses).others
    return found


def test_a_client_listens_to_its_channels_its_own_addresses_and_broadcasts() -> None:
    """The user, session and client addresses come from the client's identity."""
    ann = client("a", "news", user="7")
    registry = registry_of(ann, client("b"))
    for place in (
        address.channel("news"),
        address.user("7"),
        address.session("session-of-a"),
        address.client("a"),
    ):
        assert listening(registry, place) == [ann]
    assert len(listening(registry, BROADCAST)) == 2


def test_a_client_with_two_of_the_addresses_is_found_once() -> None:
    """The targets are addressed as a union."""
    ann = client("a", "news", "sport")
    registry = registry_of(ann)
    places = [address.channel("news"), address.channel("sport")]
    assert listening(registry, *places) == [ann]


def test_no_client_listens_to_an_unknown_address() -> None:
    """A lookup adds nothing to the index."""
    registry = registry_of(client("a"))
    assert listening(registry, address.channel("none")) == []
    assert listening(registry) == []


def test_a_client_without_personal_addresses_hears_only_its_channels() -> None:
    """A page for a public screen does not show events for its user."""
    ann = client("a", "news", user="7", personal=False)
    registry = registry_of(ann)
    assert listening(registry, BROADCAST, address.user("7")) == []
    assert listening(registry, address.channel("news")) == [ann]


def test_a_client_without_personal_addresses_still_belongs_to_its_user() -> None:
    """A stream without personal addresses must not outlive a logout."""
    ann = client("a", "news", user="7", personal=False)
    registry = registry_of(ann, client("b", user="8"))
    assert registry.belonging([address.user("7")]) == [ann]
    assert registry.belonging([address.session("session-of-a")]) == [ann]


def test_a_client_that_was_removed_leaves_nothing_behind() -> None:
    """The indexes drop names that no client uses any more."""
    ann = client("a", "news", user="7")
    ben = client("b", "news", user="7", personal=False)
    registry = registry_of(ann, ben)
    assert registry.remove(ann)
    assert registry.remove(ben)
    assert len(registry) == 0
    assert not registry._listening
    assert not registry._silent


def test_removing_twice_counts_once() -> None:
    """The end of a stream is counted by the first caller that removes it."""
    ann = client("a")
    registry = registry_of(ann)
    assert registry.remove(ann)
    assert not registry.remove(ann)


def test_only_the_connection_of_a_registered_client_is_cut() -> None:
    """Afterwards the descriptor may belong to another connection."""
    sink = HandSink()
    ann = Client("a", identity=Identity(), sink=sink)
    registry = registry_of(ann)
    registry.cut(ann)
    assert sink.cuts == 1
    registry.remove(ann)
    registry.cut(ann)
    assert sink.cuts == 1


def test_clients_are_listed_in_the_order_they_came() -> None:
    """The oldest client comes first, because it is the one to be evicted."""
    clients = [client(name) for name in "abc"]
    registry = registry_of(*clients)
    assert registry.clients() == clients
    assert clients[0] in registry


def test_clients_without_personal_addresses_are_removed_one_by_one() -> None:
    """The user's other clients are still found when streams are to end."""
    first = client("a", user="7", personal=False)
    second = client("b", user="7", personal=False)
    registry = registry_of(first, second)
    registry.remove(first)
    assert registry.belonging([address.user("7")]) == [second]
    registry.remove(second)
    assert registry.belonging([address.user("7")]) == []


class Line:
    """A connection that takes everything."""

    form = IDENTITY.form(chunked=False)

    def send(self, data: bytes, /) -> int:
        return len(data)

    def widen(self) -> None:
        """Do nothing: there is no limit."""

    def fileno(self) -> int:
        return -1


class TestReach:
    def test_a_client_that_keeps_up_is_reached_by_its_connection(self) -> None:
        """Other clients are returned as themselves, and each client comes once."""
        ann, ben = client("a", "news", "sport"), client("b", "news")
        registry = registry_of(ann, ben)
        line = Line()
        registry.promote(ann, line)
        assert reach(registry, BROADCAST) == ([line], [ben])
        places = [address.channel("news"), address.channel("sport")]
        assert reach(registry, *places) == ([line], [ben])
        assert reach(registry, address.client("a")) == ([line], [])

    def test_a_client_of_several_audiences_is_counted_once(self) -> None:
        """However many of the addresses it has, alone or with others."""
        ann = client("a", "news", "sport", "alone")
        ben, cem, late = client("b", "news"), client("c", "sport"), client("d", "sport")
        registry = registry_of(ann, ben, cem, late)
        lines = [Line(), Line(), Line()]
        for each, line in zip((ann, ben, cem), lines, strict=True):
            registry.promote(each, line)
        names = ("news", "sport", "alone", "nobody")
        places = [*map(address.channel, names), BROADCAST, address.client("a")]
        direct, others = reach(registry, *places)
        assert sorted(direct, key=lines.index) == lines
        assert others == [late]
        for each in (ann, ben, cem):
            assert registry.written(each) == (2, 10, 5.0)
            registry.demote(each)
            assert registry.written(each) == (2, 10, 5.0)

    def test_written_events_are_counted_from_the_clients_arrival(self) -> None:
        """The counts are kept at the address or the client, whichever is cheaper."""
        ann, ben = client("a"), client("b")
        registry = registry_of(ann, ben)
        registry.promote(ann, Line())
        reach(registry, BROADCAST)
        registry.promote(ben, Line())
        reach(registry, BROADCAST)
        reach(registry, address.client("b"), now=7.0)
        assert registry.written(ann) == (4, 20, 5.0)
        assert registry.written(ben) == (4, 20, 7.0)
        registry.demote(ann)
        reach(registry, BROADCAST)
        assert registry.written(ann) == (4, 20, 5.0)
        registry.remove(ben)
        assert registry.written(ben) == (6, 30, 7.0)

    def test_an_address_that_others_come_to_goes_on_counting(self) -> None:
        """The first client was alone at its address before the second one came."""
        ann = client("a", "news")
        registry = registry_of(ann)
        registry.promote(ann, Line())
        reach(registry, address.channel("news"))
        registry.add(client("b", "news"))
        reach(registry, address.channel("news"))
        assert registry.written(ann).events == 4

    def test_a_client_that_has_left_is_not_promoted(self) -> None:
        """Its socket may be closed by now."""
        ann = client("a")
        registry = registry_of(ann)
        registry.remove(ann)
        registry.promote(ann, Line())
        assert ann.connection is None


def test_an_exclusion_concerns_each_client_of_an_id_and_no_other() -> None:
    """The exclusion is found by the client's own address, as an id may be repeated."""
    ann, again, bob = client("a", "news"), client("a", "news"), client("b", "news")
    registry = registry_of(ann, again, bob)
    found = reach(registry, address.channel("news"), exclude=("a", "unknown", "news"))
    assert found.others == [bob]


def test_an_excluded_client_is_not_counted() -> None:
    """Its silence goes on, so that its ping is not late. It reads on by itself."""
    ann, bob = client("a"), client("b")
    registry = registry_of(ann, bob)
    for each in (ann, bob):
        registry.promote(each, cast("Connection", object()))
    found = reach(registry, BROADCAST, exclude=("a",))
    assert found == ([bob.connection], [ann])
    assert ann.connection is None
    assert registry.written(ann) == (0, 0, 0.0)
    assert registry.written(bob) == (2, 10, 5.0)


def test_an_exclusion_of_a_client_that_is_not_reached_changes_nothing() -> None:
    """The sender's own stream may have other channels."""
    ann, bob = client("a"), client("b", "news")
    registry = registry_of(ann, bob)
    registry.promote(ann, Line())
    assert reach(registry, address.channel("news"), exclude=("a",)) == ([], [bob])
    assert ann.connection is not None


def test_a_client_that_has_left_listens_to_nothing_new() -> None:
    """A change of its channels may be read after its end."""
    alice = client("alice", "news")
    registry = registry_of(alice)
    registry.remove(alice)
    registry.listen(alice, ("sport",))
    assert listening(registry, address.channel("sport")) == []
    assert alice.channels == ("news",)
