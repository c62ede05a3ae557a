"""Audiences: the clients of one address that has several.

An audience knows which of its clients a fan-out writes to directly, and counts each
write once for all of them. It does not lock (the registry does), and does not know its
address.
"""

from .client import Client, Connection


class Audience:
    """The clients that listen to one address, in the order of their arrival.

    A fan-out to thousands only touches their connections, in the order of their places
    in memory and in the kernel. Apart from the kernel's own work, touching each client
    or following another order would be most of the cost of a delivery.
    """

    __slots__ = ("_list", "bytes", "direct", "events", "last_write", "others")

    def __init__(self) -> None:
        #: The clients whose connection is written to directly.
        self.direct: dict[Connection, Client] = {}
        self.others: dict[Client, None] = {}
        #: Events and bytes written so far to a client that was direct all the time.
        self.events = 0
        self.bytes = 0
        self.last_write = 0.0
        self._list: list[Connection] | None = None

    def __len__(self) -> int:
        return len(self.direct) + len(self.others)

    def connections(self) -> list[Connection]:
        """Return the connections to write to. The list is not changed later."""
        if self._list is None:
            self._list = list(self.direct)
        return self._list

    def add(self, client: Client) -> None:
        """Add a client, direct or not."""
        if client.connection is None:
            self.others[client] = None
        else:
            self._join(client, client.connection)

    def remove(self, client: Client) -> None:
        """Remove a client that is not direct."""
        del self.others[client]

    def promote(self, client: Client, connection: Connection) -> None:
        """Let fan-outs write directly to a client."""
        del self.others[client]
        self._join(client, connection)

    def _join(self, client: Client, connection: Connection) -> None:
        self.direct[connection] = client
        self._list = None
        client.events -= self.events
        client.bytes -= self.bytes

    def demote(self, client: Client, connection: Connection) -> None:
        """Stop direct writes to a client."""
        del self.direct[connection]
        self._list = None
        self.others[client] = None

    def count(self, *, events: int, bytes: int, now: float) -> None:
        """Count a write to each direct client."""
        self.events += events
        self.bytes += bytes
        self.last_write = now
