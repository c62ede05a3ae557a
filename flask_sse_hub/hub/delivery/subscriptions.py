"""Subscriptions: the channels of an open stream change at one place in the log.

A control record names the change. Each client of its address reads on from there with
other addresses, and is told so once it has read that far. Does not know which channels
are open to which user: the request that made the record has asked.
"""

from collections.abc import Callable, Iterator

from ...events.address import is_presence
from ...events.channel_patterns import is_heard
from ...events.record import Cursor, Subscribe, is_beyond
from ..clients.client import ChannelChange, Client
from ..clients.close_reason import CloseReason
from ..clients.registry import ClientRegistry
from .ends import Ends
from .stretch import Frame

# The changes that a client may not have been told yet. A client that leaves more of
# them unread does not read at all.
_MOST_UNTOLD = 100


class Subscriptions:
    """Change the channels of open streams. The caller holds the progress's lock.

    ``moved`` hears of each client that has changed its part in the presence.
    """

    def __init__(
        self,
        registry: ClientRegistry,
        ends: Ends,
        *,
        max_channels: int,
        moved: Callable[[Client], object] = lambda _: None,
    ) -> None:
        self._registry = registry
        self._ends = ends
        self._max_channels = max_channels
        self._moved = moved

    def carry_out(self, frame: Frame, *, before: Cursor) -> Iterator[Client]:
        """Change the channels that a record changes; yield the clients, to be woken.

        ``before`` is the cursor before the record.
        """
        if frame.subscribe is None:
            return
        place = Cursor(before.epoch, frame.offset)
        for client in self._registry.belonging(frame.addresses):
            # A client that came after the record has named its channels itself.
            if client.close_reason is None and self._ends.comes_after(frame, client):
                self._change(client, frame.subscribe, place)
                if client.cursor is None:
                    # It has everything up to the record, and reads on from there.
                    client.cursor = before
                yield client

    def _change(self, client: Client, asked: Subscribe, place: Cursor) -> None:
        channels, refused = self._outcome(client, asked)
        before = client.addresses
        may_change = client.regrant is not None
        # Nothing is written to it directly before it is told.
        self._registry.listen(client, channels, asked.presence if may_change else ())
        if client.regrant is not None:
            client.grant = client.regrant(client.grant)
            self._moved(client)
        # The list tells of the people: no earlier change of them has to.
        added = tuple(
            each
            for each in client.addresses
            if not is_heard(each, before) and not is_presence(each)
        )
        since = asked.since if added else None
        begins = since if since is not None and is_beyond(place, since) else place
        joined = {**client.joined, **dict.fromkeys(added, begins.offset)}
        client.joined = {
            each: offset for each, offset in joined.items() if each in client.addresses
        }
        # A channel that is asked for again is listed again.
        lists = tuple(name for name in client.lists if name in asked.added)
        change = ChannelChange(
            place, before, added, channels, refused, since, lists=lists
        )
        client.changes = (*client.changes, change)
        if len(client.changes) > _MOST_UNTOLD:
            self._ends.close_locked(client, CloseReason.STALLED)

    def _outcome(
        self, client: Client, asked: Subscribe
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the client's channels from now on, and the names that are refused."""
        now = client.channels
        if client.regrant is None:
            kept = (name for name in asked.removed if name in now)
            return now, (*(name for name in asked.added if name not in now), *kept)
        left = [name for name in now if name not in asked.removed]
        wanted = tuple(dict.fromkeys([*left, *asked.added]))
        return wanted[: self._max_channels], wanted[self._max_channels :]
