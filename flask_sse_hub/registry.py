"""The clients of this worker, by address.

Safe for greenlets and threads. Knows who listens to what; not what they are sent.
"""

import threading
from collections.abc import Iterable

from .address import Address
from .client import Client


class ClientRegistry:
    """The clients that are connected, found by what they listen to or belong to."""

    def __init__(self) -> None:
        # Guards all of it. Nothing under it blocks or switches greenlets: a sink's
        # cut() only makes system calls that return at once.
        self._lock = threading.Lock()
        self._clients: dict[Client, None] = {}
        self._listening: _Index = {}
        # Clients without personal addresses hear nothing that is said to their user,
        # but are found when that user's streams are to end.
        self._silent: _Index = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, client: Client) -> bool:
        return client in self._clients

    def add(self, client: Client) -> None:
        """Make a client findable."""
        with self._lock:
            self._clients[client] = None
            _add(self._listening, client, client.addresses)
            _add(self._silent, client, _unheard(client))

    def remove(self, client: Client) -> bool:
        """Forget a client; tell whether it was there, so that its end counts once."""
        with self._lock:
            if client not in self._clients:
                return False
            del self._clients[client]
            _remove(self._listening, client, client.addresses)
            _remove(self._silent, client, _unheard(client))
            return True

    def clients(self) -> list[Client]:
        """Return all clients, those that came first at the front."""
        with self._lock:
            return list(self._clients)

    def listening(self, addresses: Iterable[Address]) -> list[Client]:
        """Return the clients that listen to any of the addresses, each once.

        In the order in which they came: that of their places in memory, the kernel's
        too, which is a fifth of what it costs to write to all of them.
        """
        with self._lock:
            return _found(self._listening, addresses)

    def belonging(self, addresses: Iterable[Address]) -> list[Client]:
        """Return the clients that the addresses can end: all that belong to them."""
        with self._lock:
            found = dict.fromkeys(_found(self._listening, addresses))
            found.update(dict.fromkeys(_found(self._silent, addresses)))
            return list(found)

    def cut(self, client: Client) -> None:
        """End the connection of a client, if it is still its own.

        A client is removed before its server closes the socket. Without asking here,
        the descriptor could by then belong to somebody else's connection.
        """
        with self._lock:
            if client in self._clients:
                client.sink.cut()


# Most addresses are of one client only, as its own id, and a dict for each would be
# half of what an idle client takes.
_Index = dict[Address, Client | dict[Client, None]]


def _add(index: _Index, client: Client, addresses: Iterable[Address]) -> None:
    for address in addresses:
        found = index.setdefault(address, client)
        if isinstance(found, dict):
            found[client] = None
        elif found is not client:
            index[address] = {found: None, client: None}


def _remove(index: _Index, client: Client, addresses: Iterable[Address]) -> None:
    for address in addresses:
        found = index[address]
        if isinstance(found, dict):
            del found[client]
            if found:
                continue
        del index[address]


def _found(index: _Index, addresses: Iterable[Address]) -> list[Client]:
    parts = [index[address] for address in addresses if address in index]
    if len(parts) == 1:
        (found,) = parts
        return list(found) if isinstance(found, dict) else [found]
    union: dict[Client, None] = {}
    for found in parts:
        union.update(found if isinstance(found, dict) else {found: None})
    return list(union)


def _unheard(client: Client) -> list[Address]:
    return [address for address in client.owners if address not in client.addresses]
