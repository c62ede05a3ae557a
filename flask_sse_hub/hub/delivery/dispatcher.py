"""The dispatcher: finds the clients that each batch of the log concerns.

Takes batches from the follower, joins consecutive records into runs, and finds the
clients of each run. Does not know sockets, deadlines, or the hub's own events.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ...brokers import Broker, LogBatch
from ...errors import BrokerUnavailable
from ...events.record import UNPLACED, Cursor, GapReason, is_beyond
from ...runtime.coded_log import CodedLog
from ...runtime.greenlets import unhurried
from ...runtime.rare_log import RareLog
from ..clients.client import Client, Connection
from ..clients.close_reason import CloseReason
from ..clients.registry import ClientRegistry
from ..tally import Tally
from .ends import CLOCK_SKEW_SECONDS, Ends
from .progress import DeliveryProgress
from .run import Run
from .state import State
from .stretch import Frame
from .subscriptions import Subscriptions
from .waking import Waking

log = CodedLog(__name__)

# The most bytes of records that are joined into one write: half of the bytes that the
# kernel takes at once for a client that has read everything before.
_RUN_BYTES = 8192


class NotesEvents(Protocol):
    """Notes the events with a receipt. The caller holds the lock of the progress."""

    def note(self, frame: Frame, cursor: Cursor) -> None:
        """Note an event that is being fanned out."""

    def note_earlier(self, frame: Frame, cursor: Cursor, *, age: float) -> None:
        """Note an event from before this worker's start. Its age is in seconds."""


class Dispatcher:
    """Move the position along the log, and find the clients of each record."""

    def __init__(
        self,
        progress: DeliveryProgress,
        registry: ClientRegistry,
        ends: Ends,
        subscriptions: Subscriptions,
        waking: Waking,
        receipts: NotesEvents,
        *,
        broker: Broker,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rare_log = RareLog(log, clock=clock)
        self._progress = progress
        self._registry = registry
        self._ends = ends
        self._subscriptions = subscriptions
        self._waking = waking
        self._receipts = receipts
        self._broker = broker
        self._tally = tally
        self._clock = clock
        #: Set when there is something to fan out or to write.
        self.work = threading.Event()
        # The lock of the progress guards the fields below.
        self._arrived: deque[Frame] = deque()
        self._leads_to = UNPLACED
        # Clients that resumed beyond the position: another worker was quicker, or no
        # event ever had their id. Some may have been caught up with meanwhile.
        self._ahead: set[Client] = set()
        self._fanned_out = threading.Event()
        self._stopped = False

    # The follower's side

    def begin(
        self, start: Cursor, tail: Sequence[LogBatch] = (), *, state: State
    ) -> None:
        """Start at the end of ``tail``, the part of the log after ``start``.

        ``state`` is the broker's, from before the end of the tail.

        The tail is older than this worker, so it is fanned out to no client. Clients
        that came while the broker was away find their cursor in it. Control records in
        it may end their streams.
        """
        records = (record for batch in tail for record in batch.records)
        frames = list(unhurried(map(Frame.of, records)))
        self._note_malformed(sum(batch.malformed for batch in tail))
        progress = self._progress
        with progress.lock:
            progress.history.restart(start)
            progress.history.append(frames, tail[-1].cursor if tail else start)
            progress.position = self._leads_to = progress.history.cursor
            progress.history.trim(upto=progress.position.offset)
            self._ends.note(frames)
            progress.state = state
            for frame in frames:
                now = progress.history.now
                state.fold(frame, now=now)
                if frame.receipt is not None:
                    at = Cursor(start.epoch, frame.offset)
                    self._receipts.note_earlier(frame, at, age=now - frame.time)
            waiting = self._registry.clients()
            for client in waiting:
                self._ends.end_if_disconnected(client)
                if client.cursor is None:
                    self._place(client)
                elif progress.is_ahead(client.cursor):
                    self._ahead.add(client)
        self._waking.wake(waiting)

    def _place(self, client: Client) -> None:
        """Find the cursor of a client that came before the position was known."""
        history = self._progress.history
        came = history.before(client.loaded_at)
        surely_before = history.before(client.loaded_at - CLOCK_SKEW_SECONDS)
        if (
            came is None
            or surely_before is None
            or history.concerns(client.addresses, surely_before, upto=came)
        ):
            # The clocks may differ, so some of these events may be newer than the
            # client.
            self._reset(client, GapReason.EXPIRED)
            return
        # The id of a ping tells the client its place, even if no event comes.
        client.ping_due = True
        if came != self._progress.position:
            self._registry.demote(client)
            client.cursor = came

    def accept(self, batch: LogBatch, *, state: State | None = None) -> None:
        """Take the follower's next batch, and wait if the memory is overfull.

        After a gap, ``state`` is the broker's.
        """
        if batch.gap is not None:
            self._continue_after(batch.gap, batch.cursor, state or State())
        frames = list(unhurried(map(Frame.of, batch.records)))
        self._note_malformed(batch.malformed)
        history = self._progress.history
        with self._progress.lock:
            history.append(frames, batch.cursor)
            self._arrived.extend(frames)
            self._leads_to = batch.cursor
            self._tally.events_in += sum(1 for frame in frames if frame.block)
            self._tally.bytes_in += sum(len(frame.block) for frame in frames)
            self._ends.note(frames)
        self.work.set()
        if history.overfull:
            self.settle()

    def _note_malformed(self, count: int) -> None:
        before = self._tally.malformed
        self._tally.malformed = after = before + count
        # One line for each doubling, because a program that writes one such entry may
        # write many.
        if after.bit_length() > before.bit_length():
            log.warning("SSE-1207", "%d entries of the log could not be read", after)

    def settle(self) -> None:
        """Wait until every accepted record is fanned out."""
        while self._arrived and not self._stopped:
            self._fanned_out.wait(1.0)
            self._fanned_out.clear()

    def stop(self) -> None:
        """End all waiting for a fan-out."""
        self._stopped = True
        self.work.set()
        self._fanned_out.set()

    def fan_out(self) -> Run | None:
        """Fan out the next run of records; None if there is nothing new in the log.

        The caller writes the run to its direct clients.
        """
        progress = self._progress
        woken: dict[Client, None] = {}
        with progress.lock:
            if progress.position == self._leads_to:
                return None
            run, frames = self._next_run()
            for frame in frames:
                woken.update(dict.fromkeys(self._ends.carry_out(frame)))
                changed = self._subscriptions.carry_out(frame, before=run.before)
                woken.update(dict.fromkeys(changed))
                if frame.key is not None:
                    progress.state.fold(frame, now=progress.history.now)
                if frame.receipt is not None:
                    at = Cursor(run.after.epoch, frame.offset)
                    self._receipts.note(frame, at)
            if run.events:
                self._mark(frames[0], run, woken)
            progress.position, progress.run = run.after, run
            progress.history.trim(upto=progress.position.offset)
        self._fanned_out.set()
        self._waking.wake(woken)
        return run

    def _next_run(self) -> tuple[Run, list[Frame]]:
        """Take the next records that have the same addresses and exclusions.

        The events whose time is over are passed over.
        """
        frames = [self._arrived.popleft()] if self._arrived else []
        size = sum(len(frame.block) for frame in frames)
        while self._arrived and size < _RUN_BYTES:
            first, following = frames[0], self._arrived[0]
            if (
                following.addresses != first.addresses
                or following.exclude != first.exclude
                or (following.ttl == 0) is not (first.ttl == 0)
                or not first.block
                or not following.block
            ):
                break
            frames.append(self._arrived.popleft())
            size += len(following.block)
        after = self._leads_to
        if self._arrived:
            after = Cursor(after.epoch, frames[-1].offset)
        now = self._progress.history.now
        return Run.of(frames, self._progress.position, after, now=now), frames

    def _mark(self, frame: Frame, run: Run, woken: dict[Client, None]) -> None:
        """Find the clients of a run. Those without a connection read on from here."""
        now = self._clock()
        run.direct, others = self._registry.reach(
            frame.heard_at,
            exclude=frame.exclude,
            names_channels=frame.has_channels,
            events=run.events,
            bytes=run.bytes,
            now=now,
        )
        if run.direct or others:
            run.published_at = frame.time
        for client in others:
            if run.momentary and client.lags(now):
                self._pass_over(client, run)
            if client.cursor is None:
                client.cursor = run.before
            elif client.sink.writing_since is not None or is_beyond(
                client.cursor, run.after
            ):
                # A client that lags reads on without being woken. A client beyond the
                # run has seen it on a quicker worker, or has read the broker further.
                continue
            woken[client] = None

    def _pass_over(self, client: Client, run: Run) -> None:
        """Have a lagging client never read the events of a momentary run."""
        if is_beyond(run.after, client.since):
            # Control records up to the position were carried out, so none is missed.
            client.since = run.after

    def _continue_after(self, gap: GapReason, start: Cursor, state: State) -> None:
        """Continue after a gap in the log.

        After a trim, each client reads on from its own cursor: the broker tells whether
        an event for it is missing. After any other gap, every client is reset.

        Clients with a login have to connect again, because a logout may be among the
        lost records. Clients whose user was loaded after the gap stay connected: the
        log may have been replaced before this worker noticed.
        """
        trimmed = gap is GapReason.EXPIRED
        if trimmed:
            self._rare_log.warning(
                "SSE-1208",
                "the log was trimmed before this worker has read it: clients that have"
                " lost events are reset. Keep more history",
            )
        else:
            self._rare_log.warning(
                "SSE-1209",
                "the log has a gap (%s): every client is reset",
                gap,
                kind=gap,
            )
        with self._progress.lock:
            before = self._progress.position
            self._arrived.clear()
            self._progress.history.restart(start)
            self._progress.state = state
            self._progress.position = self._leads_to = start
            self._ahead.clear()
            clients = self._registry.clients()
            for client in clients:
                if not trimmed:
                    self._reset(client, gap)
                elif client.cursor is None:
                    self._registry.demote(client)
                    client.cursor = before
                came_after = client.since == start or is_beyond(client.since, start)
                if client.user is not None and not came_after:
                    self._ends.close_locked(client, CloseReason.GAP)
        self._waking.wake(clients)

    def _reset(self, client: Client, gap: GapReason) -> None:
        """Have a client receive a reset before anything else."""
        self._registry.demote(client)
        client.cursor = None
        client.reset_due = gap

    # A client's side

    def enter(self, client: Client) -> None:
        """Take in a client whose cursor is set. The caller holds the lock."""
        progress = self._progress
        self._registry.add(client)
        if progress.is_ahead(client.cursor):
            self._ahead.add(client)
        self._ends.end_if_disconnected(client)
        placed = client.since.epoch == progress.position.epoch != UNPLACED.epoch
        if placed and not progress.is_ahead(client.since):
            # Control records up to the position have been checked. Sharing one cursor
            # object saves memory.
            client.since, client.loaded_at = progress.position, 0.0
        if client.close_reason is not None:
            client.sink.wake()

    def keep_up(self, client: Client, connection: Connection) -> bool:
        """Let fan-outs write to a client, if it has everything up to the position.

        Tells whether that is so. Otherwise the client has to take its next bytes first.
        """
        with self._progress.lock:
            is_due = client.ping_due or client.probe_due or client.changes
            if client.reset_due or is_due:
                return False
            if client.cursor is not None or client.close_reason:
                return False
            self._registry.promote(client, connection)
            return True

    def fall_behind(self, client: Client, run: Run, *, sent: int) -> None:
        """Let a client read on by itself after ``sent`` bytes of a run were sent."""
        with self._progress.lock:
            self._registry.demote(client)
            client.cursor = run.after if sent else run.before
            if not sent:
                _uncount(client, run)
                if run.momentary:
                    self._pass_over(client, run)

    def uncount(self, client: Client, run: Run) -> None:
        """Take back the count of a run that a client without a connection missed."""
        with self._progress.lock:
            _uncount(client, run)

    def ping(self, client: Client) -> None:
        """Send a client a ping, unless it receives something else first."""
        with self._progress.lock:
            client.ping_due = True
        client.sink.wake()

    def probe(self, client: Client) -> None:
        """Write a comment to a client. A peer that is gone answers by a TCP reset."""
        with self._progress.lock:
            client.probe_due = True
        client.sink.wake()

    def forget(self, client: Client) -> None:
        """Let go of a client that has left."""
        with self._progress.lock:
            self._ahead.discard(client)

    def judge_ahead(self) -> None:
        """Reset the clients whose id lies beyond the head of the log.

        The broker could not be asked when they came.
        """
        # Clients that come while the broker is asked are left out: their ids may be
        # later than its answer.
        with self._progress.lock:
            is_ahead = self._progress.is_ahead
            self._ahead = {each for each in self._ahead if is_ahead(each.cursor)}
            asked = frozenset(self._ahead)
        if not asked:
            return
        try:
            head = self._broker.head()
        except BrokerUnavailable:
            return
        with self._progress.lock:
            lost = [
                client
                for client in self._ahead & asked
                if is_beyond(client.cursor, head)
            ]
            for client in lost:
                self._reset(client, GapReason.AHEAD)
            self._ahead.difference_update(lost)
        self._waking.wake(lost)


def _uncount(client: Client, run: Run) -> None:
    client.events -= run.events
    client.bytes -= run.bytes
