"""Audiences: the clients of one address that has several.

Knows who of them is written to directly, and counts that once for all of them. Does
not lock (the registry does), and does not know addresses.
"""

from .client import Client, Connection


class Audience:
    """The clients that listen to one address, in the order in which they came.

    A fan-out to thousands only touches their connections, in an order that is that of
    their places in memory, the kernel's too: to touch each client, or to jump about,
    would be most of what a delivery costs beyond the kernel's own part.
    """

    __slots__ = ("_list", "bytes", "direct", "events", "last_write", "others")

    def __init__(self) -> None:
        #: Those whose connection is written to directly.
        self.direct: dict[Connection, Client] = {}
        self.others: dict[Client, None] = {}
        #: What was written to each of the former so far.
        self.events = 0
        self.bytes = 0
        self.last_write = 0.0
        self._list: list[Connection] | None = None

    def __len__(self) -> int:
        return len(self.direct) + len(self.others)

    def clients(self) -> list[Client]:
        """Return all of them."""
        return [*self.direct.values(), *self.others]

    def connections(self) -> list[Connection]:
        """Return the connections to write to. It is not changed later."""
        if self._list is None:
            self._list = list(self.direct)
        return self._list

    def add(self, client: Client) -> None:
        """Take a client in, directly written to or not."""
        if client.connection is None:
            self.others[client] = None
        else:
            self._join(client, client.connection)

    def remove(self, client: Client) -> None:
        """Let go of a client that is not directly written to."""
        del self.others[client]

    def promote(self, client: Client, connection: Connection) -> None:
        """Have a client written to directly."""
        del self.others[client]
        self._join(client, connection)

    def _join(self, client: Client, connection: Connection) -> None:
        self.direct[connection] = client
        self._list = None
        # So that its own counts and these together are what it got.
        client.events -= self.events
        client.bytes -= self.bytes

    def demote(self, client: Client, connection: Connection) -> None:
        """Have a client written to no more, which then counts for itself."""
        del self.direct[connection]
        self._list = None
        self.others[client] = None
        client.events += self.events
        client.bytes += self.bytes
        client.last_write = max(client.last_write, self.last_write)

    def count(self, *, events: int, bytes: int, now: float) -> None:
        """Note what is written to all who are written to directly."""
        self.events += events
        self.bytes += bytes
        self.last_write = now
