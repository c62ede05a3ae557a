"""The clients of this worker, by address.

Safe for greenlets and threads. Knows who listens to what; not what they are sent.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...events.address import Address
from .audience import Audience
from .client import Client, Connection
from .client_stats import Written


class Reached(NamedTuple):
    """Whom events reach: connections that are written to, and other clients."""

    direct: Sequence[Connection]
    others: list[Client]


class ClientRegistry:
    """The clients that are connected, found by what they listen to or belong to."""

    def __init__(self) -> None:
        # Guards all of it. Nothing under it blocks or switches greenlets: a sink's
        # cut() only makes system calls that return at once.
        self._lock = threading.RLock()
        self._clients: dict[Client, None] = {}
        # Most addresses are of one client only, as its own id, and an audience for each
        # would be more than all else that an idle client takes.
        self._listening: dict[Address, Client | Audience] = {}
        # Clients without personal addresses hear nothing that is said to their user,
        # but are found when that user's streams are to end.
        self._silent: dict[Address, dict[Client, None]] = {}
        #: How many clients there are by the way their bytes leave.
        self.delivery: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, client: Client) -> bool:
        return client in self._clients

    def add(self, client: Client) -> None:
        """Make a client findable."""
        with self._lock:
            self._clients[client] = None
            self.delivery[client.sink.delivery_kind] += 1
            for address in client.addresses:
                found = self._listening.setdefault(address, client)
                if isinstance(found, Audience):
                    found.add(client)
                elif found is not client:
                    self._listening[address] = audience = Audience()
                    audience.add(found)
                    audience.add(client)
            for address in client.unheard:
                self._silent.setdefault(address, {})[client] = None

    def remove(self, client: Client) -> bool:
        """Forget a client; tell whether it was there, so that its end counts once."""
        with self._lock:
            if client not in self._clients:
                return False
            self.demote(client)
            del self._clients[client]
            self.delivery[client.sink.delivery_kind] -= 1
            for address in client.addresses:
                found = self._listening[address]
                if isinstance(found, Audience):
                    found.remove(client)
                    if found:
                        continue
                del self._listening[address]
            for address in client.unheard:
                del self._silent[address][client]
                if not self._silent[address]:
                    del self._silent[address]
            return True

    def promote(self, client: Client, connection: Connection) -> None:
        """Have a client that keeps up written to directly."""
        with self._lock:
            if client in self._clients and client.connection is None:
                for audience in self._audiences(client):
                    audience.promote(client, connection)
                client.connection = connection

    def demote(self, client: Client) -> None:
        """Have a client no longer written to directly, if it was."""
        with self._lock:
            connection = client.connection
            if connection is not None:
                # From here on it counts for itself.
                client.events, client.bytes, client.last_write = self._written(client)
                client.skipped_events = client.skipped_bytes = 0
                for audience in self._audiences(client):
                    audience.demote(client, connection)
                client.connection = None

    def written(self, client: Client) -> Written:
        """Return what was written to a client so far."""
        with self._lock:
            return self._written(client)

    def _written(self, client: Client) -> Written:
        events, size, last = client.events, client.bytes, client.last_write
        if client.connection is not None:
            events -= client.skipped_events
            size -= client.skipped_bytes
            for audience in self._audiences(client):
                events += audience.events
                size += audience.bytes
                last = max(last, audience.last_write)
        return Written(events, size, last)

    def _audiences(self, client: Client) -> list[Audience]:
        found = map(self._listening.get, client.addresses)
        return [each for each in found if isinstance(each, Audience)]

    def clients(self) -> list[Client]:
        """Return all clients, those that came first at the front."""
        with self._lock:
            return list(self._clients)

    def _found(self, addresses: Iterable[Address]) -> dict[Client, None]:
        union: dict[Client, None] = {}
        for address in addresses:
            found = self._listening.get(address)
            if isinstance(found, Audience):
                union.update(dict.fromkeys(found.clients()))
            elif found is not None:
                union[found] = None
        return union

    def reach(
        self,
        addresses: Sequence[Address],
        *,
        exclude: Sequence[str],
        events: int,
        bytes: int,
        now: float,
    ) -> Reached:
        """Return whom events reach that are for any of the addresses, each once.

        For those who are written to directly they are counted.
        """
        with self._lock:
            if len(addresses) == 1 and not exclude:
                audience = self._listening.get(addresses[0])
                if isinstance(audience, Audience):
                    audience.count(events=events, bytes=bytes, now=now)
                    return Reached(audience.connections(), list(audience.others))
            direct: list[Connection] = []
            others: list[Client] = []
            for client in self._found(addresses):
                if client.id in exclude:
                    continue
                if client.connection is None:
                    others.append(client)
                else:
                    client.count(events=events, bytes=bytes, now=now)
                    direct.append(client.connection)
            return Reached(direct, others)

    def belonging(self, addresses: Iterable[Address]) -> list[Client]:
        """Return the clients that the addresses can end: all that belong to them."""
        with self._lock:
            found = self._found(addresses)
            for address in addresses:
                found.update(self._silent.get(address, {}))
            return list(found)

    def cut(self, client: Client) -> None:
        """End the connection of a client, if it is still its own.

        A client is removed before its server closes the socket. Without asking here,
        the descriptor could by then belong to somebody else's connection.
        """
        with self._lock:
            if client in self._clients:
                client.sink.cut()
