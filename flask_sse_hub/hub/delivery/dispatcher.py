"""The dispatcher: the position in the log, fan-out to clients, and their ends.

Takes batches from the follower and decides whom they concern and who has to go. Does
not know what else is written to a client, what the clock says is due, or sockets.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...brokers import Batch, Broker
from ...errors import BrokerUnavailable
from ...events.address import Address
from ...runtime import native
from ..clients.client import IMMEDIATE, Client, CloseReason, Connection, Identity
from ..clients.registry import ClientRegistry
from .ended_sessions import EndedAddresses
from .history import UNPLACED, Cursor, Disconnect, Frame, GapReason, History, is_beyond

log = logging.getLogger(__name__)

# Clients woken in one piece before everything else in the process gets its turn: a
# millisecond or two.
_WAKES_AT_ONCE = 64

# Records that are joined into one write: half of what the kernel takes at once for a
# client that has read all before.
_RUN_BYTES = 8192

# What the clocks of two machines may differ by. A client that came while the broker was
# away is judged by the time of control records, by so much too strictly.
_CLOCK_SKEW_SECONDS = 60.0


@dataclass(slots=True)
class Run:
    """Consecutive records for the same clients, fanned out in one piece.

    ``direct`` are the connections of those who keep up and are written to; whoever lags
    finds it all in the history. It leads from the cursor ``before`` to ``after``.
    """

    before: Cursor
    after: Cursor
    blocks: Sequence[bytes] = ()
    bytes: int = 0
    direct: Sequence[Connection] = ()

    @property
    def events(self) -> int:
        """How many events it has."""
        return len(self.blocks)


class Dispatcher:
    """Move the position along the log, and tell each client what concerns it."""

    def __init__(
        self,
        *,
        broker: Broker,
        history: History,
        registry: ClientRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self.history = history
        self._registry = registry
        self._clock = clock
        #: Guards the history, the position and each client's cursor and dues. Nothing
        #: under it blocks, so that it is held for microseconds.
        self.lock = threading.Lock()
        #: The last record that was fanned out in this worker. While the writer is still
        #: busy with it, it writes nothing else, and who comes then begins after it.
        self.position = UNPLACED
        #: Set when there is something to fan out or to write.
        self.work = threading.Event()
        self.events_in = 0
        self.bytes_in = 0
        #: Entries of the log that could not be read, and were passed over.
        self.malformed = 0

        self._arrived: deque[Frame] = deque()
        self._leads_to = UNPLACED
        # Clients that resumed beyond the position, because another worker was quicker.
        self._ahead: set[Client] = set()
        self.ended = EndedAddresses()
        self._fanned_out = threading.Event()
        self._stopped = False

    # The follower's side

    def begin(self, start: Cursor, tail: Sequence[Batch] = ()) -> None:
        """Start at the end of a tail of the log, which begins after a cursor.

        It is what was before this worker came, so it is fanned out to nobody. Clients
        that came first, while the broker was away, are judged by it.
        """
        frames = [Frame.of(record) for batch in tail for record in batch.records]
        self._note_malformed(sum(batch.malformed for batch in tail))
        with self.lock:
            self.history.restart(start)
            self.history.append(frames, tail[-1].cursor if tail else start)
            self.position = self._leads_to = self.history.cursor
            self.history.trim(upto=self.position.offset)
            self.ended.note(frames)
            waiting = dict.fromkeys(self._registry.clients())
            for client in waiting:
                self._end_if_disconnected(client)
                if client.cursor is None:
                    self._place(client)
                elif self.is_ahead(client.cursor):
                    self._ahead.add(client)
        self._wake(waiting)

    def _place(self, client: Client) -> None:
        """Find where a client begins that came when no place in the log was known."""
        came = self.history.before(client.loaded_at)
        surely_before = self.history.before(client.loaded_at - _CLOCK_SKEW_SECONDS)
        if (
            came is None
            or surely_before is None
            or self.history.concerns(client.addresses, surely_before, upto=came)
        ):
            # By another clock some of that may have been published since it came.
            self._reset(client, GapReason.EXPIRED)
            return
        # A ping tells it where it is, if there is nothing else to.
        client.ping_due = True
        if came != self.position:
            self._registry.demote(client)
            client.cursor = came

    def accept(self, batch: Batch) -> None:
        """Take the follower's next batch; wait while the last ones fill the memory."""
        if batch.gap is not None:
            self._reset_all(batch.gap, batch.cursor)
        frames = [Frame.of(record) for record in batch.records]
        self._note_malformed(batch.malformed)
        with self.lock:
            self.history.append(frames, batch.cursor)
            self._arrived.extend(frames)
            self._leads_to = batch.cursor
            self.events_in += sum(1 for frame in frames if frame.block)
            self.bytes_in += sum(len(frame.block) for frame in frames)
            self.ended.note(frames)
        self.work.set()
        if self.history.overfull:
            self.settle()

    def _note_malformed(self, count: int) -> None:
        before, self.malformed = self.malformed, self.malformed + count
        # A line for each doubling: whoever writes one such entry may write very many.
        if self.malformed.bit_length() > before.bit_length():
            log.warning("%d entries of the log could not be read", self.malformed)

    def settle(self) -> None:
        """Wait until everything accepted is fanned out."""
        while self._arrived and not self._stopped:
            self._fanned_out.wait(1.0)
            self._fanned_out.clear()

    def stop(self) -> None:
        """Let nobody wait for a fan-out any more."""
        self._stopped = True
        self.work.set()
        self._fanned_out.set()

    def fan_out(self) -> Run | None:
        """Fan out the next run of records; None if there is nothing new in the log.

        What it leaves to the caller is to write the run to its direct clients.
        """
        woken: dict[Client, None] = {}
        with self.lock:
            if self.position == self._leads_to:
                return None
            run, frames = self._next_run()
            for frame in frames:
                if frame.disconnect is not None:
                    self._disconnect(frame, frame.disconnect, woken)
            if run.events:
                self._mark(frames[0], run, woken)
            self.position = run.after
            self.history.trim(upto=self.position.offset)
            for client in self._ahead:
                if not self.is_ahead(client.cursor):
                    woken[client] = None
            self._ahead.difference_update(woken)
        self._fanned_out.set()
        self._wake(woken)
        return run

    def _next_run(self) -> tuple[Run, list[Frame]]:
        """Take the next records that have the same addresses and exclusions."""
        frames = [self._arrived.popleft()] if self._arrived else []
        size = sum(len(frame.block) for frame in frames)
        while self._arrived and size < _RUN_BYTES:
            first, following = frames[0], self._arrived[0]
            if (
                following.addresses != first.addresses
                or following.exclude != first.exclude
                or not first.block
                or not following.block
            ):
                break
            frames.append(self._arrived.popleft())
            size += len(following.block)
        after = self._leads_to
        if self._arrived:
            after = Cursor(after.epoch, frames[-1].offset)
        blocks = [frame.block for frame in frames if frame.block]
        return Run(self.position, after, blocks, size), frames

    def _mark(self, frame: Frame, run: Run, woken: dict[Client, None]) -> None:
        """Find whom a run concerns: who is written to, and who has to read it."""
        run.direct, others = self._registry.reach(
            frame.addresses,
            exclude=frame.exclude,
            events=run.events,
            bytes=run.bytes,
            now=self._clock(),
        )
        for client in others:
            # Whoever lags already reads on without being woken.
            if client.cursor is None:
                client.cursor = run.before
                woken[client] = None

    def _disconnect(
        self, frame: Frame, disconnect: Disconnect, woken: dict[Client, None]
    ) -> None:
        for client in self._registry.belonging(frame.addresses):
            if self._concerns(frame, client):
                self._close(client, CloseReason.of(disconnect))
                woken[client] = None

    def _wake(self, woken: dict[Client, None]) -> None:
        for count, client in enumerate(woken, 1):
            client.sink.wake()
            if client.close_reason in IMMEDIATE and client.sink.writing_since:
                self._registry.cut(client)
            if count % _WAKES_AT_ONCE == 0:
                native.breathe()

    def _concerns(self, frame: Frame, client: Client) -> bool:
        """Tell whether a control record is later than the client's user was loaded."""
        return (
            client.since.epoch != self._leads_to.epoch
            or client.since.offset < frame.offset
        )

    def _reset_all(self, gap: GapReason, start: Cursor) -> None:
        """Start anew where the log goes on, and tell every client that it missed some.

        Who is logged in has to come back: a logout may be among what was lost. Not who
        came after it, as another worker's client whose log was replaced.
        """
        log.warning("the log has a gap (%s): every client is reset", gap)
        with self.lock:
            self._arrived.clear()
            self.history.restart(start)
            self.position = self._leads_to = start
            self._ahead.clear()
            clients = dict.fromkeys(self._registry.clients())
            for client in clients:
                self._reset(client, gap)
                came_after = client.since == start or is_beyond(client.since, start)
                if client.identity.user is not None and not came_after:
                    self._close(client, CloseReason.GAP)
        self._wake(clients)

    def _reset(self, client: Client, gap: GapReason) -> None:
        """Have a client told of a gap before it gets anything else."""
        self._registry.demote(client)
        client.cursor = None
        client.reset_due = gap

    # A client's side

    def fall_behind(self, client: Client, run: Run, *, sent: int) -> None:
        """Have a client read on by itself of which so many bytes of a run were sent."""
        with self.lock:
            self._registry.demote(client)
            client.cursor = run.after if sent else run.before
            if not sent:
                client.events -= run.events
                client.bytes -= run.bytes

    def enter(self, client: Client) -> None:
        """Take a client in that has its cursor; the caller holds the lock."""
        self._registry.add(client)
        if self.is_ahead(client.cursor):
            self._ahead.add(client)
        self._end_if_disconnected(client)
        placed = client.since.epoch == self.position.epoch != UNPLACED.epoch
        if placed and not self.is_ahead(client.since):
            # Up to there all was looked at, and very many share it.
            client.since, client.loaded_at = self.position, 0.0
        if client.close_reason is not None:
            client.sink.wake()

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

    def judge_ahead(self) -> None:
        """Reset the clients whose id lies beyond the head of the log.

        Their worker could not ask the broker when they came.
        """
        # Not those that come while the broker is asked: their ids may be later.
        asked = frozenset(self._ahead)
        if not asked:
            return
        try:
            head = self._broker.head()
        except BrokerUnavailable:
            return
        with self.lock:
            lost = [
                client
                for client in self._ahead & asked
                if is_beyond(client.cursor, head)
            ]
            for client in lost:
                self._reset(client, GapReason.AHEAD)
            self._ahead.difference_update(lost)
        self._wake(dict.fromkeys(lost))

    def end(self, addresses: tuple[Address, ...], disconnect: Disconnect) -> None:
        """End the streams of this worker that belong to some addresses."""
        if disconnect.final:
            with self.lock:
                self.ended.add(addresses)
        for client in self._registry.belonging(addresses):
            self.close(client, CloseReason.of(disconnect))

    def forget_expired(self) -> None:
        """Let go of events that are too old, also while no new ones come."""
        with self.lock:
            self.history.trim(upto=self.position.offset)

    def forget(self, client: Client) -> None:
        """Let go of a client that has left."""
        with self.lock:
            self._ahead.discard(client)

    def _close(self, client: Client, reason: CloseReason) -> None:
        if client.close_reason is None:
            client.close_reason = reason
            if client.connection is not None:
                self._registry.demote(client)
                if reason in IMMEDIATE:
                    # It may be in the middle of a fan-out, with this client to come.
                    client.sink.cut()

    def _end_if_disconnected(self, client: Client) -> None:
        """Act on control records between the loading of the user and this moment."""
        if any(owner in self.ended for owner in client.owners):
            # The session was read from its cookie before it ended.
            self._close(client, CloseReason.SESSION_ENDED)
        if self.position == UNPLACED:
            # The broker is away; begin() looks again.
            return
        since: Cursor | None = client.since
        if since == UNPLACED:
            since = self.history.before(client.loaded_at - _CLOCK_SKEW_SECONDS)
        if since is None or not self.history.covers(since):
            if client.identity != Identity():
                # Whether they were logged out in between cannot be told any more.
                self._close(client, CloseReason.GAP)
            return
        for disconnect in self.history.disconnects(since.offset, client.owners):
            self._close(client, CloseReason.of(disconnect))

    def is_ahead(self, cursor: Cursor | None) -> bool:
        """Tell whether a cursor lies beyond the position of this worker."""
        return is_beyond(cursor, self.position)
