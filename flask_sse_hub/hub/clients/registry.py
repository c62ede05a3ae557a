"""The clients of this worker, by address.

Safe for greenlets and threads. Knows which client has which addresses. Does not know
the events that clients receive.
"""

import threading
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from ...events.address import Address, address_of_client
from ...events.record import PresencePart
from .audience import Audience
from .client import Client, Connection
from .client_stats import Written


class Reached(NamedTuple):
    """The clients that events reach: connections for direct writes, and the others."""

    direct: Sequence[Connection]
    others: list[Client]


class ClientRegistry:
    """The connected clients, found by the addresses that they listen or belong to."""

    def __init__(self) -> None:
        # Guards all fields below. Code under the lock never blocks or switches
        # greenlets: a sink's cut() only makes system calls that return at once.
        self._lock = threading.RLock()
        self._clients: dict[Client, None] = {}
        # Most addresses have one client only, such as the address of a client's own id.
        # An audience for each would take more memory than the rest of an idle client.
        self._listening: dict[Address, Client | Audience] = {}
        # Clients without personal addresses receive no events for their user, but have
        # to be found when that user's streams end.
        self._silent: dict[Address, dict[Client, None]] = {}
        # The clients for which events with several targets name their channels.
        self._naming: dict[Client, None] = {}
        #: The number of clients by kind of delivery.
        self.delivery: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def sockets(self) -> int:
        """The number of clients on sockets of their own, each one descriptor."""
        return self.delivery["socket"]

    def __contains__(self, client: Client) -> bool:
        return client in self._clients

    def add(self, client: Client) -> None:
        """Add a client, to be found by its addresses."""
        with self._lock:
            self._clients[client] = None
            self.delivery[client.sink.delivery_kind] += 1
            for address in client.addresses:
                self._join(client, address)
            for address in client.unheard:
                self._silent.setdefault(address, {})[client] = None
            if client.names_channels:
                self._naming[client] = None

    def _join(self, client: Client, address: Address) -> None:
        found = self._listening.setdefault(address, client)
        if isinstance(found, Audience):
            found.add(client)
        elif found is not client:
            self._listening[address] = audience = Audience()
            audience.add(found)
            audience.add(client)

    def _part(self, client: Client, address: Address) -> None:
        found = self._listening[address]
        if isinstance(found, Audience):
            found.remove(client)
            if found:
                return
        del self._listening[address]

    def listen(
        self,
        client: Client,
        channels: tuple[str, ...],
        presence: Sequence[PresencePart] = (),
    ) -> None:
        """Have a client listen to other channels, and stop direct writes to it."""
        with self._lock:
            if client not in self._clients:
                return
            self.demote(client)
            before = client.addresses
            client.listen(channels, presence)
            for address in set(before).difference(client.addresses):
                self._part(client, address)
            for address in set(client.addresses).difference(before):
                self._join(client, address)

    def remove(self, client: Client) -> bool:
        """Remove a client; tell whether it was there, so that its end counts once."""
        with self._lock:
            if client not in self._clients:
                return False
            self.demote(client)
            del self._clients[client]
            self.delivery[client.sink.delivery_kind] -= 1
            for address in client.addresses:
                self._part(client, address)
            for address in client.unheard:
                del self._silent[address][client]
                if not self._silent[address]:
                    del self._silent[address]
            self._naming.pop(client, None)
            return True

    def promote(self, client: Client, connection: Connection) -> None:
        """Let fan-outs write directly to a client that keeps up."""
        with self._lock:
            if client in self._clients and client.connection is None:
                for audience in self._audiences(client):
                    audience.promote(client, connection)
                client.connection = connection

    def demote(self, client: Client) -> None:
        """Stop direct writes to a client, if there were any."""
        with self._lock:
            connection = client.connection
            if connection is not None:
                # The audiences no longer count for this client. From here on its own
                # counters hold the whole sum.
                client.events, client.bytes, client.last_write = self._written(client)
                for audience in self._audiences(client):
                    audience.demote(client, connection)
                client.connection = None

    def written(self, client: Client) -> Written:
        """Return how much was written to a client so far."""
        with self._lock:
            return self._written(client)

    def _written(self, client: Client) -> Written:
        events, size, last = client.events, client.bytes, client.last_write
        if client.connection is not None:
            for audience in self._audiences(client):
                events += audience.events
                size += audience.bytes
                last = max(last, audience.last_write)
        return Written(events, size, last)

    def _audiences(self, client: Client) -> list[Audience]:
        found = map(self._listening.get, client.addresses)
        return [each for each in found if isinstance(each, Audience)]

    def clients(self) -> list[Client]:
        """Return all clients, the oldest first."""
        with self._lock:
            return list(self._clients)

    def _found(self, addresses: Iterable[Address]) -> dict[Client, None]:
        union: dict[Client, None] = {}
        for address in addresses:
            found = self._listening.get(address)
            if isinstance(found, Audience):
                union.update(dict.fromkeys(found.direct.values()))
                union.update(found.others)
            elif found is not None:
                union[found] = None
        return union

    def reach(
        self,
        addresses: Sequence[Address],
        *,
        exclude: Sequence[str],
        names_channels: bool = False,
        events: int,
        bytes: int,
        now: float,
    ) -> Reached:
        """Return the clients that have any of the addresses, each once.

        The events and bytes are counted as written for clients with a connection. An
        excluded client that had one reads on by itself, and finds nothing to read: it
        is among the others, and nothing is counted for it. If the events have several
        targets (``names_channels``), the clients whose bytes name their channels read
        on by themselves too.
        """
        with self._lock:
            if names_channels and self._naming:
                self._set_apart(addresses)
            found = [self._listening.get(address) for address in addresses]
            audiences = [each for each in found if isinstance(each, Audience)]
            alone = {each for each in found if isinstance(each, Client)}
            kept_out = self._keep_out(exclude, addresses) if exclude else ()
            for audience in audiences:
                audience.count(events=events, bytes=bytes, now=now)
            if len(audiences) == 1 and not alone:
                direct: Sequence[Connection] = audiences[0].connections()
                others = audiences[0].others
            else:
                union, others = _merged(audiences, events=events, bytes=bytes)
                for client in alone:
                    if client.connection is None:
                        others[client] = None
                    elif client.connection not in union:
                        client.count(events=events, bytes=bytes, now=now)
                        union[client.connection] = client
                direct = list(union)
            # Looking at the id of each client would take longer than all the rest.
            return Reached(direct, [each for each in others if each not in kept_out])

    def _set_apart(self, addresses: Sequence[Address]) -> None:
        """Demote the clients that receive other bytes than all others."""
        reached = set(addresses)
        for client in self._naming:
            if client.connection is not None and reached.intersection(client.addresses):
                self.demote(client)

    def _keep_out(
        self, exclude: Sequence[str], addresses: Sequence[Address]
    ) -> Container[Client]:
        """Demote the excluded clients that would be reached; return all others."""
        kept_out = self._found(map(address_of_client, exclude))
        reached = set(addresses)
        for client in list(kept_out):
            if client.connection is not None and reached.intersection(client.addresses):
                self.demote(client)
                del kept_out[client]
        return kept_out

    def listening(
        self, addresses: Sequence[Address], *, exclude: Sequence[str]
    ) -> list[Client]:
        """Return the clients that events of some addresses are for, each once."""
        with self._lock:
            found = self._found(addresses)
            kept_out = self._found(map(address_of_client, exclude))
            return [each for each in found if each not in kept_out]

    def belonging(self, addresses: Iterable[Address]) -> list[Client]:
        """Return the clients whose streams a disconnect at these addresses ends."""
        with self._lock:
            found = self._found(addresses)
            for address in addresses:
                found.update(self._silent.get(address, {}))
            return list(found)

    def cut(self, client: Client) -> None:
        """End a client's connection, if the client is still registered.

        A client is removed before its server closes the socket. Without this check, the
        descriptor could already belong to the connection of another client.
        """
        with self._lock:
            if client in self._clients:
                client.sink.cut()


def _merged(
    audiences: Sequence[Audience], *, events: int, bytes: int
) -> tuple[dict[Connection, Client], dict[Client, None]]:
    """Return the direct and the other clients of several audiences, each once.

    Each audience has counted a write. A client of several is counted once: only these
    clients are touched.
    """
    direct: dict[Connection, Client] = {}
    others: dict[Client, None] = {}
    for audience in audiences:
        for connection in direct.keys() & audience.direct.keys():
            client = direct[connection]
            client.events -= events
            client.bytes -= bytes
        direct.update(audience.direct)
        others.update(audience.others)
    return direct, others
