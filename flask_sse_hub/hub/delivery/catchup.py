"""Catch-up: the next bytes for a client, from its cursor to the worker's position.

Writes the hub's own events too. Does not know where the bytes go, or when something is
due.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...brokers import Broker
from ...errors import BrokerUnavailable
from ...events.record import UNPLACED, Cursor, GapReason, is_beyond
from ..clients.client import ALL_STATE, NO_STATE, ChannelChange, Client, StateDue
from ..clients.close_reason import IMMEDIATE
from ..tally import Tally
from . import own_events
from .backlog import Backlog
from .earlier import Earlier
from .history import History, NextBlocks
from .own_events import id_of, own_event
from .progress import DeliveryProgress

log = logging.getLogger(__name__)

# One write to a lagging client: a few TCP segments. A slow client holds no more than
# this outside the kernel.
_CHUNK_BYTES = 16_384

# A comment with one newline. A second one would be the empty line that ends a block.
_PROBE = b":\n"

# The id of ``connected`` for a client whose own id is malformed. It is malformed too: a
# client that comes back with it is still owed a reset.
_MALFORMED_ID = "malformed"


class Catchup:
    """Bring clients from their cursors to the dispatcher's position."""

    def __init__(
        self,
        progress: DeliveryProgress,
        broker: Broker,
        backlog: Backlog,
        *,
        enter: Callable[[Client], None],
        listing: Callable[[Sequence[str]], str | None] = lambda _: None,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._broker = broker
        self._backlog = backlog
        self._earlier = Earlier(
            progress, broker, backlog, max_bytes=_CHUNK_BYTES, tally=tally
        )
        self._enter = enter
        self._listing = listing
        self._tally = tally
        self._clock = clock

    def greet(
        self,
        client: Client,
        *,
        last_event_id: str | None,
        retry: float,
        heartbeat: float,
        warnings: Sequence[str] = (),
    ) -> bytes:
        """Take a client in at its cursor and return its first event, ``connected``.

        Its id is the client's own, or the position for a client without one. A client
        that begins with the state has no id until it has received all of it. If history
        does not reach back to that id, take() returns ``reset`` next. With a later id
        in ``connected``, a client whose connection breaks before the ``reset`` would
        never learn that events are missing.
        """
        asked = None
        gap = None
        if last_event_id is not None:
            asked = Cursor.parse(last_event_id)
            if asked is None:
                gap = GapReason.MALFORMED
            else:
                asked = self._broker.resolve(asked)
                gap = self._judge(asked, client)
        with self._progress.lock:
            event_id = id_of(self._progress.position)
            if last_event_id is not None:
                event_id = str(asked) if asked else _MALFORMED_ID
            if gap is None:
                client.cursor = asked
            if client.state is not None and last_event_id is None:
                # Without an id, a client whose connection breaks comes back as a new
                # one, and begins with the state again.
                event_id = None
                self._begin_state(client)
            client.reset_due, client.resumed = gap, client.cursor is not None
            client.begun = client.cursor or self._progress.position
            greeting = own_events.connected(
                client,
                heartbeat=heartbeat,
                resumed=asked is not None and gap is None,
                warnings=warnings,
            )
            greeting = self._with_people(greeting, client.lists)
            block = own_event("connected", event_id, greeting, retry=retry)
            self._enter(client)
            self._written(client, [block])
        if gap is not None:
            client.sink.wake()
        return client.coding.head + client.coding.encode([block])

    def waits_for_broker(self, client: Client) -> bool:
        """Tell whether take() would read from the broker, which may be slow."""
        cursor = client.cursor
        return self._earlier.waits_for_broker(client) or (
            client.close_reason is None
            and client.reset_due is None
            and client.state_due is None
            and cursor is not None
            and not self._progress.is_ahead(cursor)
            and not (client.judged and self._covers(cursor, client))
        )

    def take(self, client: Client) -> bytes | None:
        """Return the next bytes for a client, b"" if none are due, None at its end.

        While the broker is away, a client that needs it keeps its cursor and waits.
        """
        due = self._take(client)
        if due is None:
            return None
        coded = client.coding.encode([due.block] if isinstance(due, _Reset) else due)
        # Compressing large blocks lets other code run, such as a logout.
        if client.close_reason in IMMEDIATE:
            return None
        if isinstance(due, _Reset):
            self._tally.resets[due.reason] += 1
        return coded

    def owed(self, client: Client) -> list[bytes]:
        """Return the ``reset`` that a client is owed at the end of its stream, if any.

        The client may have no id to come back with, and would then count as new.
        """
        with self._progress.lock:
            gap = client.reset_due
            if gap is None or client.close_reason in IMMEDIATE:
                return []
            if client.state is not None:
                # It keeps its own id, and receives the reset with the state later.
                return []
            reset = self._reset(client, gap)
        self._tally.resets[reset.reason] += 1
        return [reset.block]

    def _take(self, client: Client) -> "list[bytes] | _Reset | None":
        while True:
            if client.changes and (earlier := self._earlier.take(client)) is not None:
                with self._progress.lock:
                    return self._written(client, earlier) or self._ping(client)
            with self._progress.lock:
                if client.close_reason is not None:
                    return None
                if client.reset_due is not None:
                    return self._reset(client, client.reset_due)
                if client.state_due is not None:
                    blocks = self._take_state(client, client.state_due)
                    if blocks or client.state_due is not None:
                        return blocks
                cursor = client.cursor
                if client.changes and client.changes[0].is_reached(cursor):
                    if blocks := self._confirm(client, client.changes[0]):
                        return blocks
                    continue
                if cursor is None or self._progress.is_ahead(cursor):
                    return self._ping(client)
                if newest := self._progress.last_run_for(client):
                    return self._advance(client, newest)
                if client.judged and self._covers(cursor, client):
                    history, upto = self._progress.history, self._progress.position
                    reading = self._read(history, cursor, client, upto=upto)
                    if isinstance(reading, GapReason):
                        client.reset_due = reading
                    elif blocks := self._advance(client, reading):
                        return blocks
                    continue
                if not client.judged:
                    # The broker was away when the client came. By now it may know the
                    # earlier epoch of the client's cursor.
                    client.cursor = cursor = self._broker.resolve(cursor)
            try:
                deep = self._read_backlog(cursor, client)
            except BrokerUnavailable as error:
                log.debug("%r waits for the broker: %s", client, error)
                with self._progress.lock:
                    if client.close_reason is None:
                        return self._ping(client)
                    continue
            with self._progress.lock:
                # A logout or a reset may have come during the read.
                if client.close_reason is not None or client.cursor is not cursor:
                    continue
                client.judged = True
                if isinstance(deep, GapReason):
                    client.reset_due = deep
                elif blocks := self._advance(client, deep):
                    return blocks
                elif deep.cursor == cursor and not self._covers(cursor, client):
                    # The broker is ahead of this worker. The heartbeat's sweep wakes
                    # the client again.
                    return self._ping(client)

    def _begin_state(self, client: Client) -> None:
        """Have a client receive the whole state, and then what follows."""
        client.state = ALL_STATE
        # The client does not keep up: nothing is written to it before the state.
        client.cursor = self._progress.position

    def _take_state(self, client: Client, due: StateDue) -> list[bytes]:
        """Return the next values of the state for a client, in the order of the log.

        The last ones are followed by a ping: its id is the place at which the state is
        true, from which the client goes on.
        """
        state, position = self._progress.state, self._progress.position
        if UNPLACED in (position, state.cursor):
            # The broker is away. The dispatcher wakes the client when it is back.
            return self._ping(client)
        upto = due.upto
        if upto is None:
            # The broker's state may be newer than what was fanned out here.
            upto = state.cursor if is_beyond(state.cursor, position) else position
            client.changes = tuple(each.without_state() for each in client.changes)
        values = state.values(
            due.addresses or client.addresses_at(upto),
            after=due.after,
            upto=upto,
            max_bytes=_CHUNK_BYTES,
            now=self._progress.history.now,
        )
        blocks = [value.block for value in values]
        client.events += len(blocks)
        self._tally.events_out += len(blocks)
        if sum(map(len, blocks)) >= _CHUNK_BYTES:
            client.state = StateDue(values[-1].offset, upto, due.addresses)
        elif due.addresses:
            # The confirmation follows, with the place at which these values are true.
            client.state = NO_STATE
        else:
            client.state = NO_STATE
            client.cursor = None if upto == position else upto
            blocks.append(own_events.ping(upto))
        return self._written(client, blocks)

    def _confirm(self, client: Client, change: ChannelChange) -> list[bytes]:
        """Return the event that tells a client its channels from its cursor on.

        A client with the state first receives that of its new channels, without an id.
        Then nothing is returned.
        """
        place = client.cursor or self._progress.position
        if change.since is not None:
            # It was reached a moment ago. Its earlier events come first.
            return []
        if change.added and client.state is not None:
            client.changes = (change.without_state(), *client.changes[1:])
            client.state = StateDue(0, place, change.added)
            return []
        client.changes = client.changes[1:]
        told = self._with_people(own_events.subscribed(change), change.lists)
        block = own_event("subscribed", id_of(place), told)
        return self._written(client, [block])

    def _judge(self, asked: Cursor, client: Client) -> GapReason | None:
        """Check the id that a client resumes from; return the reason for a gap."""
        with self._progress.lock:
            history = self._progress.history
            newest = history.cursor
            client.judged = history.knows(asked)
            if client.judged:
                return self._too_early(history, asked, client)
        try:
            if is_beyond(asked, newest):
                # Another worker has already sent the event with this id, or no event
                # ever had it.
                ahead = is_beyond(asked, self._broker.head())
                return GapReason.AHEAD if ahead else None
            # The page stays in the backlog, so take() need not read it again.
            page = self._backlog.page(asked, client.addresses)
            client.judged = True
            if isinstance(page, GapReason):
                return page
            return self._too_early(page, asked, client)
        except BrokerUnavailable as error:
            # The follower warns once that the broker is away. A warning here would be
            # repeated for each client.
            log.debug("cannot check the last event id of %r yet: %s", client, error)
        return None

    def _read_backlog(self, after: Cursor, client: Client) -> NextBlocks | GapReason:
        """Read a client's next events that are older than this worker's memory."""
        page = self._backlog.page(after, client.addresses_at(after))
        if isinstance(page, GapReason):
            return page
        upto, position = page.cursor, self._progress.position
        if is_beyond(upto, position) and page.subscribes(position, client.owners):
            # This worker has not changed the client's channels yet.
            upto = position
        return self._read(page, after, client, upto=upto)

    def _read(
        self, history: History, after: Cursor, client: Client, *, upto: Cursor
    ) -> NextBlocks | GapReason:
        if client.changes and client.changes[0].place.offset < upto.offset:
            upto = client.changes[0].place
        # After a gap, all of the new log is later than the client.
        since = client.since if client.since.epoch == upto.epoch else UNPLACED
        return history.read(
            after,
            upto=upto,
            addresses=client.addresses_at(after),
            client_id=client.id,
            max_bytes=_CHUNK_BYTES,
            not_before=client.not_before,
            present_since=since.offset,
            # A newer value may be that of a channel that the client has left by then.
            is_replaced=None if client.changes else self._progress.state.replaces,
            names_channels=client.names_channels,
        )

    def _too_early(
        self, history: History, asked: Cursor, client: Client
    ) -> GapReason | None:
        """Return EXPIRED if an event after an id is from before the client's login."""
        if not client.not_before:
            return None
        found = self._read(history, asked, client, upto=history.cursor)
        return found if isinstance(found, GapReason) else None

    def _covers(self, cursor: Cursor, client: Client) -> bool:
        return self._progress.history.covers(cursor, client.addresses_at(cursor))

    def _advance(self, client: Client, reading: NextBlocks) -> list[bytes]:
        """Move a client's cursor past its next blocks, and return the blocks."""
        keeps_up = reading.cursor == self._progress.position
        client.cursor = None if keeps_up else reading.cursor
        client.events += len(reading.blocks)
        self._tally.events_out += len(reading.blocks)
        return self._written(client, reading.blocks) if reading.blocks else []

    def _ping(self, client: Client) -> list[bytes]:
        """Return the ping or the probe that is due, for a client without events."""
        if not client.ping_due:
            return self._probe(client)
        cursor = client.cursor or self._progress.position
        if client.state_due is not None:
            cursor = UNPLACED
        return self._written(client, [own_events.ping(cursor)])

    def _probe(self, client: Client) -> list[bytes]:
        """Return a comment if one is due.

        The browser hides comments from its page, so this does not delay the next ping.
        """
        if not client.probe_due:
            return []
        client.probe_due = False
        client.bytes += len(_PROBE)
        self._tally.bytes_out += len(_PROBE)
        return [_PROBE]

    def _reset(self, client: Client, gap: GapReason) -> "_Reset":
        """Move a client to the position, and return the reset that tells it so."""
        client.reset_due = client.cursor = None
        client.begun, client.was_reset = self._progress.position, gap
        client.judged = True
        client.changes = tuple(each.after_reset() for each in client.changes)
        place = id_of(self._progress.position)
        data: dict[str, object] = {"reason": gap}
        if client.state is not None:
            # The client keeps its own id until it has received the state.
            place = None
            data["state"] = True
            self._begin_state(client)
        text = self._with_people(own_events.text(data), client.lists)
        block = own_event(client.reset_type, place, text)
        self._written(client, [block])
        return _Reset(gap, block)

    def _with_people(self, data: str, channels: Sequence[str]) -> str:
        """Add the people of the channels for which a client asked.

        The list is not older than the client's place: a change that comes again after
        it changes nothing.
        """
        listing = self._listing(channels)
        return data if listing is None else f'{data[:-1]},"presence":{listing}}}'

    def _written(self, client: Client, blocks: list[bytes]) -> list[bytes]:
        """Count blocks as written to a client, and return them."""
        size = sum(map(len, blocks))
        client.ping_due = client.probe_due = False
        client.count(events=0, bytes=size, now=self._clock())
        self._tally.bytes_out += size
        return blocks


class _Reset(NamedTuple):
    """A ``reset``, encoded. It counts once it is part of what is written."""

    reason: GapReason
    block: bytes
