"""Catch-up: the next bytes for a client, from its cursor to the worker's position.

Encodes the hub's own events too: ``connected``, ``reset`` and ``ping``. Does not know
where the bytes go, or when something is due.
"""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from ...brokers import Broker
from ...errors import BrokerUnavailable
from ...events.event import encode_block
from ...events.record import UNPLACED, Cursor, GapReason, is_beyond
from ..clients.client import Client
from ..clients.close_reason import IMMEDIATE
from ..tally import Tally
from .backlog import Backlog
from .history import NextBlocks
from .progress import Progress

log = logging.getLogger(__name__)

# One write to a lagging client: a few TCP segments' worth of frames. The server gets
# more than one event at a time, and a slow client holds no more than this outside the
# kernel.
_CHUNK_BYTES = 16_384

# A comment with one newline. A second one would be the empty line that ends a block.
_PROBE = b":\n"


class Catchup:
    """Bring clients from their cursors to the dispatcher's position."""

    def __init__(
        self,
        progress: Progress,
        broker: Broker,
        backlog: Backlog,
        *,
        enter: Callable[[Client], None],
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._broker = broker
        self._backlog = backlog
        self._enter = enter
        self._tally = tally
        self._clock = clock

    def greet(
        self,
        client: Client,
        *,
        last_event_id: str | None,
        retry: float,
        heartbeat: float,
    ) -> bytes:
        """Take a client in at its cursor and return the first bytes of its stream.

        The first event is ``connected``. It is followed by ``reset`` if history does
        not reach back to the id, or else by the first events that are too old for this
        worker's memory.
        """
        asked = None
        reading = None
        gap = None
        if last_event_id is not None:
            asked = Cursor.parse(last_event_id)
            if asked is None:
                gap = GapReason.MALFORMED
            else:
                asked = self._broker.resolve(asked)
                gap, reading = self._resume(asked, client)
        with self._progress.lock:
            start = self._progress.position
            if asked is not None and gap is None:
                start = asked
                client.cursor = reading.cursor if reading else asked
            blocks = [
                encode_block(
                    _compact(
                        client_id=client.id,
                        user_id=client.identity.user,
                        channels=client.channels,
                        heartbeat=heartbeat,
                        resumed=asked is not None and gap is None,
                    ),
                    type="connected",
                    event_id=_id(start),
                    retry=retry,
                )
            ]
            if gap is not None:
                blocks.append(self._reset_block(gap, start))
            self._enter(client)
            if reading is not None and client.close_reason is None:
                client.events += len(reading.blocks)
                self._tally.events_out += len(reading.blocks)
                blocks += reading.blocks
            self._written(client, blocks)
        coding = client.coding
        coded = coding.encode(blocks)
        if client.close_reason in IMMEDIATE:
            # Compressing may let a logout run, as in take(). The client must no longer
            # receive the events that it resumes with.
            coded = coding.encode(blocks[:1])
        return coding.head + coded

    def waits_for_broker(self, client: Client) -> bool:
        """Tell whether take() would read from the broker, which may be slow."""
        cursor = client.cursor
        return (
            client.close_reason is None
            and client.reset_due is None
            and cursor is not None
            and not self._progress.is_ahead(cursor)
            and not (client.judged and self._covers(cursor))
        )

    def take(self, client: Client) -> bytes | None:
        """Return the next bytes for a client, b"" if none are due, None at its end.

        While the broker is away, a client that needs it keeps its cursor and waits.
        """
        blocks = self._take(client)
        if blocks is None:
            return None
        coded = client.coding.encode(blocks)
        # Compressing large blocks lets other code run, such as a logout.
        return None if client.close_reason in IMMEDIATE else coded

    def _take(self, client: Client) -> list[bytes] | None:
        while True:
            with self._progress.lock:
                if client.close_reason is not None:
                    return None
                if client.reset_due is not None:
                    gap, client.reset_due = client.reset_due, None
                    client.cursor = None
                    client.judged = True
                    return self._written(
                        client, [self._reset_block(gap, self._progress.position)]
                    )
                cursor = client.cursor
                if cursor is None or self._progress.is_ahead(cursor):
                    return self._ping(client)
                if client.judged and self._progress.history.covers(cursor):
                    reading = self._progress.history.read(
                        cursor,
                        upto=self._progress.position,
                        addresses=client.addresses,
                        client_id=client.id,
                        max_bytes=_CHUNK_BYTES,
                    )
                    if blocks := self._advance(client, reading):
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
                elif deep.cursor == cursor and not self._covers(cursor):
                    # The broker is ahead of this worker. The heartbeat's sweep wakes
                    # the client again.
                    return self._ping(client)

    def _resume(
        self, asked: Cursor, client: Client
    ) -> tuple[GapReason | None, NextBlocks | None]:
        """Check the id that a client resumes from.

        Returns the reason for a gap, or the first events that are too old for this
        worker's memory, if there are any.
        """
        with self._progress.lock:
            newest = self._progress.history.cursor
            client.judged = self._progress.history.knows(asked)
        try:
            if is_beyond(asked, newest):
                # Another worker has already sent the event with this id, or no event
                # ever had it.
                ahead = is_beyond(asked, self._broker.head())
                return (GapReason.AHEAD if ahead else None), None
            if not client.judged:
                found = self._read_backlog(asked, client)
                client.judged = True
                return (found, None) if isinstance(found, GapReason) else (None, found)
        except BrokerUnavailable as error:
            # The follower warns once that the broker is away. A warning here would be
            # repeated for each client.
            log.debug("cannot check the last event id of %r yet: %s", client, error)
        return None, None

    def _read_backlog(self, after: Cursor, client: Client) -> NextBlocks | GapReason:
        """Read a client's next events that are older than this worker's memory."""
        page = self._backlog.page(after)
        if isinstance(page, GapReason):
            return page
        return page.read(
            after,
            upto=page.cursor,
            addresses=client.addresses,
            client_id=client.id,
            max_bytes=_CHUNK_BYTES,
        )

    def _covers(self, cursor: Cursor) -> bool:
        return self._progress.history.covers(cursor)

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
        data = _compact(ts=round(time.time(), 3))
        return self._written(
            client, [encode_block(data, type="ping", event_id=_id(cursor))]
        )

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

    def _reset_block(self, gap: GapReason, cursor: Cursor) -> bytes:
        self._tally.resets[gap] += 1
        return encode_block(_compact(reason=gap), type="reset", event_id=_id(cursor))

    def _written(self, client: Client, blocks: list[bytes]) -> list[bytes]:
        """Count blocks as written to a client, and return them."""
        size = sum(map(len, blocks))
        client.ping_due = client.probe_due = False
        client.count(events=0, bytes=size, now=self._clock())
        self._tally.bytes_out += size
        return blocks


def _id(cursor: Cursor) -> str | None:
    """Return the event id for a cursor; None while no place in the log is known."""
    return None if cursor == UNPLACED else str(cursor)


def _compact(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"))
