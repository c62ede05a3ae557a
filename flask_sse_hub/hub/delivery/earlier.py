"""Earlier events: those of new channels from before the stream listened to them.

A change of channels may name an id, and its new channels begin after that. Their events
up to the change's place come before its confirmation. They have no id of the stream: a
client that breaks off comes back with its own cursor, and asks for the channel again.
Does not know when a client is served.
"""

import logging

from ...brokers import Broker
from ...errors import BrokerUnavailable
from ...events.address import Address
from ...events.record import Cursor, GapReason, is_beyond
from ..clients.client import ChannelChange, Client
from ..tally import Tally
from .backlog import Backlog
from .history import History, NextBlocks
from .progress import DeliveryProgress
from .stretch import Frame

log = logging.getLogger(__name__)


class Earlier:
    """Read the earlier events of new channels, from memory or from the broker."""

    def __init__(
        self,
        progress: DeliveryProgress,
        broker: Broker,
        backlog: Backlog,
        *,
        max_bytes: int,
        tally: Tally,
    ) -> None:
        self._progress = progress
        self._broker = broker
        self._backlog = backlog
        self._max_bytes = max_bytes
        self._tally = tally

    def waits_for_broker(self, client: Client) -> bool:
        """Tell whether take() would read from the broker, which may be slow."""
        change = _due(client)
        if change is None or change.since is None:
            return False
        return not self._is_in_memory(self._broker.resolve(change.since), change.added)

    def take(self, client: Client) -> list[bytes] | None:
        """Return a client's next earlier events; None if none are due (any more).

        The list is empty while the broker is away or behind. What the log has lost is
        noted in the change, for its confirmation.
        """
        while True:
            with self._progress.lock:
                change = _due(client)
            if change is None or change.since is None:
                return None
            since = self._broker.resolve(change.since)
            try:
                found = self._read(client, change, since, change.added)
                if isinstance(found, GapReason):
                    change_after = self._without_lost(client, change, since, found)
                    blocks: list[bytes] = []
                else:
                    change_after = change.go_on(found.cursor)
                    blocks = found.blocks
            except BrokerUnavailable as error:
                log.debug("%r waits for the broker: %s", client, error)
                return []
            with self._progress.lock:
                # A logout or a reset may have come during the read.
                if _due(client) is not change:
                    continue
                client.changes = (change_after, *client.changes[1:])
                if lost := dict.fromkeys(change_after.lost, change.place.offset):
                    client.joined = {**client.joined, **lost}
                client.events += len(blocks)
                self._tally.events_out += len(blocks)
            if blocks or change_after == change:
                return blocks

    def _is_in_memory(self, since: Cursor, addresses: tuple[Address, ...]) -> bool:
        history = self._progress.history
        return history.knows(since) and history.covers(since, addresses)

    def _read(
        self,
        client: Client,
        change: ChannelChange,
        since: Cursor,
        addresses: tuple[Address, ...],
    ) -> NextBlocks | GapReason:
        """Return the next events of some addresses between an id and a change.

        Raises BrokerUnavailable.
        """
        if not addresses:
            return NextBlocks([], change.place)
        if is_beyond(since, change.place):
            # The id was in the request, and the change came later: no event had the id.
            return GapReason.AHEAD
        with self._progress.lock:
            if self._is_in_memory(since, addresses):
                history = self._progress.history
                return self._next(history, client, change, since, addresses)
        page = self._backlog.page(since, addresses)
        if isinstance(page, GapReason):
            return page
        with self._progress.lock:
            return self._next(page, client, change, since, addresses)

    def _next(
        self,
        history: History,
        client: Client,
        change: ChannelChange,
        since: Cursor,
        addresses: tuple[Address, ...],
    ) -> NextBlocks | GapReason:
        def is_had(frame: Frame) -> bool:
            """Tell whether the client has had an event at another of its addresses."""
            return any(
                each in change.before and client.heard_since(each, place) < frame.offset
                for each in frame.heard_at
            )

        place = change.place
        is_replaced = self._progress.state.replaces
        return history.read(
            since,
            upto=min(history.cursor, place),
            addresses=addresses,
            client_id=client.id,
            max_bytes=self._max_bytes,
            not_before=client.not_before,
            # A newer value may be that of a channel that the client has left by then.
            is_replaced=None if len(client.changes) > 1 else is_replaced,
            is_had=is_had,
            names_channels=client.names_channels,
        )

    def _without_lost(
        self, client: Client, change: ChannelChange, since: Cursor, gap: GapReason
    ) -> ChannelChange:
        """Return a change whose confirmation tells of the channels that are reset."""
        lost = change.added
        if gap is GapReason.EXPIRED and len(lost) > 1:
            found = {each: self._read(client, change, since, (each,)) for each in lost}
            lost = tuple(each for each in lost if isinstance(found[each], GapReason))
        return change.without_lost(lost or change.added, gap)


def _due(client: Client) -> ChannelChange | None:
    """Return the change whose earlier events a client receives next, if there is one.

    The change is reached: the client has had its other events up to there.
    """
    if not client.changes or client.close_reason or client.reset_due:
        return None
    change = client.changes[0]
    is_due = change.since is not None and change.is_reached(client.cursor)
    return change if is_due and client.state_due is None else None
