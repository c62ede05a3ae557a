"""The one writer: fan-out, catch-up, pings and farewells.

Takes batches from the follower, wakes the clients that they concern, and works out the
next bytes of each client from its cursor. Does not know how a stream is opened, what
the clock says is due, or where bytes go.
"""

import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from . import _native
from .brokers import Batch, Broker
from .client import IMMEDIATE, Client, CloseReason
from .errors import BrokerUnavailable
from .event import encode_block
from .history import UNPLACED, Cursor, Frame, GapReason, History, Reading
from .registry import ClientRegistry

log = logging.getLogger(__name__)

# One write of a client that is behind: a few TCP segments' worth of frames, so that a
# yield is not one event, and a slow client holds no more than this beside the kernel.
_CHUNK_BYTES = 65_536

# Records fanned out in one piece, and clients woken, before everything else in the
# process gets its turn: a millisecond or two.
_FAN_OUT_RECORDS = 64
_WAKES_AT_ONCE = 64

# Reads of the broker that clients may cause at the same time, so that many that resume
# from far back do not take its whole capacity.
_DEEP_READS = 2
_DEEP_PAGE_RECORDS = 500


# One newline, so that it could not end a block early.
_PROBE = b":\n"


class Dispatcher:
    """Bring every client from its cursor to the position, and the position onwards."""

    def __init__(
        self,
        *,
        broker: Broker,
        history: History,
        registry: ClientRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._history = history
        self._registry = registry
        self._clock = clock
        #: Guards the history, the position and each client's cursor and dues. Nothing
        #: under it blocks, so that it is held for microseconds.
        self.lock = threading.Lock()
        #: The last record whose fan-out in this worker has finished.
        self.position = UNPLACED
        self.events_in = 0
        self.bytes_in = 0
        self.events_out = 0
        self.bytes_out = 0
        self.resets: Counter[str] = Counter()

        self._arrived: deque[Frame] = deque()
        self._leads_to = UNPLACED
        # Clients that resumed beyond the position, because another worker was quicker.
        self._ahead: set[Client] = set()
        self._work = threading.Event()
        self._fanned_out = threading.Event()
        self._deep_reads = threading.BoundedSemaphore(_DEEP_READS)
        self._stopped = False

    # The follower's side

    def begin(self, cursor: Cursor) -> None:
        """Start from a cursor of the log, with nothing behind it."""
        with self.lock:
            self._history.restart(cursor)
            self.position = self._leads_to = cursor

    def accept(self, batch: Batch) -> None:
        """Take the follower's next batch; wait while the last ones fill the memory."""
        if batch.gap is not None:
            self._reset_all(batch.gap, batch)
        frames = [Frame.of(record) for record in batch.records]
        with self.lock:
            self._history.append(frames, batch.cursor)
            self._arrived.extend(frames)
            self._leads_to = batch.cursor
            self.events_in += sum(1 for frame in frames if frame.block)
            self.bytes_in += sum(len(frame.block) for frame in frames)
        self._work.set()
        if self._history.overfull:
            self.settle()

    def settle(self) -> None:
        """Wait until everything accepted is fanned out."""
        while self._arrived and not self._stopped:
            self._fanned_out.wait(1.0)
            self._fanned_out.clear()

    def run(self) -> None:
        """Fan out what the follower brings until stop()."""
        while not self._stopped:
            self._work.wait()
            self._work.clear()
            while self.fan_out() and not self._stopped:
                _native.breathe()

    def stop(self) -> None:
        """End run()."""
        self._stopped = True
        self._work.set()
        self._fanned_out.set()

    def fan_out(self) -> bool:
        """Fan out the next few records; tell whether there were any."""
        woken: dict[Client, None] = {}
        with self.lock:
            if self.position == self._leads_to:
                return False
            position = self._leads_to
            for _ in range(min(len(self._arrived), _FAN_OUT_RECORDS)):
                frame = self._arrived.popleft()
                self._mark(frame, woken)
                position = Cursor(self._leads_to.epoch, frame.offset)
            self.position = position if self._arrived else self._leads_to
            self._history.trim(upto=self.position.offset)
            for client in self._ahead:
                if client.cursor and client.cursor.offset <= self.position.offset:
                    woken[client] = None
            self._ahead.difference_update(woken)
        self._fanned_out.set()
        self._wake(woken)
        return True

    def _mark(self, frame: Frame, woken: dict[Client, None]) -> None:
        """Note the clients that a record concerns; they read it once they are woken."""
        if frame.disconnect is not None:
            for client in self._registry.belonging(frame.addresses):
                if self._concerns(frame, client):
                    self._close(client, CloseReason(frame.disconnect.reason))
                    woken[client] = None
            return
        before = Cursor(self._leads_to.epoch, frame.offset - 1)
        for client in self._registry.listening(frame.addresses):
            if client.id not in frame.exclude:
                if client.cursor is None:
                    client.cursor = before
                woken[client] = None

    def _wake(self, woken: dict[Client, None]) -> None:
        for count, client in enumerate(woken, 1):
            client.sink.wake()
            if client.close_reason in IMMEDIATE and client.sink.writing_since:
                self._registry.cut(client)
            if count % _WAKES_AT_ONCE == 0:
                _native.breathe()

    def _concerns(self, frame: Frame, client: Client) -> bool:
        """Tell whether a control record is later than the client's user was loaded."""
        return (
            client.since.epoch != self._leads_to.epoch
            or client.since.offset < frame.offset
        )

    def _reset_all(self, gap: GapReason, batch: Batch) -> None:
        """Start anew where the log goes on, and tell every client that it missed some.

        Who is logged in has to come back: a logout may be among what was lost.
        """
        log.warning("the log has a gap (%s): every client is reset", gap)
        start = batch.cursor
        if batch.records:
            first = batch.records[0].cursor
            start = Cursor(first.epoch, first.offset - 1)
        with self.lock:
            self._arrived.clear()
            self._history.restart(start)
            self.position = self._leads_to = start
            self._ahead.clear()
            clients = dict.fromkeys(self._registry.clients())
            for client in clients:
                client.cursor = None
                client.reset_due = gap
                if client.identity.user is not None:
                    self._close(client, CloseReason.GAP)
        self._wake(clients)

    # A client's side

    def greet(
        self,
        client: Client,
        *,
        last_event_id: str | None,
        retry: float,
        heartbeat: float,
    ) -> bytes:
        """Take a client in at its cursor and return the first bytes of its stream.

        They are the ``connected`` event, then ``reset`` where history does not reach
        back to the id, or else what lies too far back for this worker's memory.
        """
        asked = None
        reading = None
        gap = None
        if last_event_id is not None:
            asked = Cursor.parse(last_event_id)
            if asked is None:
                gap = GapReason.MALFORMED
            else:
                gap, reading = self._resume(asked, client)
        with self.lock:
            self._registry.add(client)
            start = self.position
            if asked is not None and gap is None:
                start = asked
                client.cursor = reading.cursor if reading else asked
                if client.cursor.offset > self.position.offset:
                    self._ahead.add(client)
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
                    event_id=str(start),
                    retry=retry,
                )
            ]
            if gap is not None:
                blocks.append(self._reset_block(gap, start))
            self._end_if_disconnected(client)
            if client.close_reason is not None:
                client.sink.wake()
            if reading is not None:
                client.events += len(reading.blocks)
                self.events_out += len(reading.blocks)
                blocks += reading.blocks
            return self._written(client, blocks)

    def take(self, client: Client) -> bytes | None:
        """Return the next bytes for a client, b"" when there are none, None at its end.

        While the broker is away, a client that needs it waits with its cursor.
        """
        while True:
            with self.lock:
                if client.close_reason is not None:
                    return None
                if client.reset_due is not None:
                    gap, client.reset_due = client.reset_due, None
                    client.cursor = None
                    return self._written(
                        client, [self._reset_block(gap, self.position)]
                    )
                cursor = client.cursor
                if cursor is None or cursor.offset > self.position.offset:
                    return self._ping(client)
                if self._history.covers(cursor):
                    reading = self._history.read(
                        cursor,
                        upto=self.position,
                        addresses=client.addresses,
                        client_id=client.id,
                        max_bytes=_CHUNK_BYTES,
                    )
                    if chunk := self._advance(client, reading):
                        return chunk
                    continue
            try:
                deep, gap_found = self._read_broker(cursor, client)
            except BrokerUnavailable as error:
                log.debug("%r waits for the broker: %s", client, error)
                with self.lock:
                    return self._ping(client)
            with self.lock:
                if client.cursor is not cursor:
                    continue
                if gap_found is not None:
                    client.reset_due = gap_found
                elif chunk := self._advance(client, deep):
                    return chunk

    def ping(self, client: Client) -> None:
        """Let a client have a ping, unless it gets something else before."""
        with self.lock:
            client.ping_due = True
        client.sink.wake()

    def probe(self, client: Client) -> None:
        """Have something written that a peer which is gone answers with a reset."""
        with self.lock:
            client.probe_due = True
        client.sink.wake()

    def close(self, client: Client, reason: CloseReason) -> None:
        """End a client's stream, for the first of the reasons given."""
        with self.lock:
            self._close(client, reason)
        self._wake({client: None})

    def forget_expired(self) -> None:
        """Let go of events that are too old, also while no new ones come."""
        with self.lock:
            self._history.trim(upto=self.position.offset)

    def forget(self, client: Client) -> None:
        """Let go of a client that has left."""
        with self.lock:
            self._ahead.discard(client)

    def _close(self, client: Client, reason: CloseReason) -> None:
        if client.close_reason is None:
            client.close_reason = reason

    def _end_if_disconnected(self, client: Client) -> None:
        """Act on control records between the loading of the user and this moment."""
        since = client.since
        if since is UNPLACED:
            return
        if not self._history.covers(since):
            self._close(client, CloseReason.GAP)
        for disconnect in self._history.disconnects(since.offset, client.owners):
            self._close(client, CloseReason(disconnect.reason))

    def _resume(
        self, asked: Cursor, client: Client
    ) -> tuple[GapReason | None, Reading | None]:
        """Judge the id that a client comes back with."""
        with self.lock:
            known = self._history.cursor
            covered = self._history.covers(asked)
        try:
            if covered and asked.offset > known.offset:
                # Another worker was quicker, or the id was never given.
                ahead = asked.offset > self._broker.head().offset
                return (GapReason.AHEAD if ahead else None), None
            if not covered:
                reading, gap = self._read_broker(asked, client)
                return gap, reading
        except BrokerUnavailable as error:
            log.warning("cannot judge the id of %r yet: %s", client, error)
        return None, None

    def _read_broker(
        self, after: Cursor, client: Client
    ) -> tuple[Reading, GapReason | None]:
        """Read a page that lies further back than this worker's memory."""
        with self._deep_reads:
            replay = self._broker.replay(
                after, addresses=client.addresses, page=_DEEP_PAGE_RECORDS
            )
        frames = map(Frame.of, replay.records)
        blocks = [f.block for f in frames if f.block and client.id not in f.exclude]
        return Reading(blocks, replay.cursor), replay.gap

    def _advance(self, client: Client, reading: Reading) -> bytes:
        """Move a client's cursor over what it gets."""
        keeps_up = reading.cursor == self.position
        client.cursor = None if keeps_up else reading.cursor
        client.events += len(reading.blocks)
        self.events_out += len(reading.blocks)
        return self._written(client, reading.blocks) if reading.blocks else b""

    def _ping(self, client: Client) -> bytes:
        """Return the ping or the probe that is due to a client without events."""
        if not client.ping_due:
            return self._probe(client)
        cursor = client.cursor or self.position
        data = _compact(ts=round(time.time(), 3))
        return self._written(
            client, [encode_block(data, type="ping", event_id=str(cursor))]
        )

    def _probe(self, client: Client) -> bytes:
        """Return a comment if one is due. Nobody sees it, so it counts as silence."""
        if not client.probe_due:
            return b""
        client.probe_due = False
        client.bytes += len(_PROBE)
        self.bytes_out += len(_PROBE)
        return _PROBE

    def _reset_block(self, gap: GapReason, cursor: Cursor) -> bytes:
        self.resets[gap] += 1
        return encode_block(_compact(reason=gap), type="reset", event_id=str(cursor))

    def _written(self, client: Client, blocks: list[bytes]) -> bytes:
        chunk = b"".join(blocks)
        client.ping_due = client.probe_due = False
        client.last_write = self._clock()
        client.bytes += len(chunk)
        self.bytes_out += len(chunk)
        return chunk


def _compact(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"))
