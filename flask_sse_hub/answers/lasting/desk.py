"""The desk: the answers of one process, those that it runs and those that it reads.

Knows the hub. Every worker has a desk. The desks of all workers together see to it that
each answer ends once, also if its runner is gone, and that nothing of it stays behind.
"""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ...brokers import traced
from ...errors import BrokerUnavailable, StateFull
from ...hub.hub import Hub
from ...runtime import tracing
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog
from ...runtime.survival import surviving
from ..batch import Batch
from ..departures import Watching, departures
from ..protocols import new_end_id
from ..source import Source
from . import records
from .book import Book, BookEntry
from .records import Begun, Ended
from .runner import Runner

log = CodedLog(__name__)

# How often a desk looks at its answers, while there are any.
_LOOK_SECONDS = 1.0

# The desks of other workers do the work of a runner's own desk this much later, so that
# they need not do it if that desk has.
_AFTER_RUNNER_SECONDS = 3.0

# How long a call waits until this worker has read the log up to its head.
_READ_SECONDS = 5.0

# How long a worker that goes away waits for the ends of its answers.
_DRAIN_SECONDS = 1.0

# With more answers than this in one process, their batches leave later. An append takes
# about half a millisecond of CPU, and each answer makes ten a second.
_AT_FULL_PACE = 100

_LOST = "the process that produced the answer is gone"


class Desk:
    """The answers of one process. Creating it starts nothing.

    ``beside`` runs a function in a thread of a name. It raises RuntimeError if there is
    no room for one. ``patience`` is how long a call waits for the log, in seconds.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        max_bytes: int,
        departures: Callable[[], Watching] = departures,
        beside: Callable[[Callable[[], None], str], None] | None = None,
        patience: float = _READ_SECONDS,
    ) -> None:
        self.hub = hub
        self._members = hub.members
        # For the steps of an answer, in the trace of the app. Records by which workers
        # keep house are in none.
        broker = hub.broker
        self._append_step = partial(traced.append, broker)
        self._append = broker.publish
        self._beside = beside or _in_thread
        self._patience = patience
        self.book = Book(hub.members, changed=self._note_change)
        self._max_bytes = max_bytes
        self._departures = departures
        self._rare_log = RareLog(log)
        # Guards the fields below.
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        # The number of readers of this worker, by answer, and the answers for which the
        # log says that there are some.
        self._readers: dict[BookEntry, int] = {}
        self._said: set[BookEntry] = set()
        # The moment at which this desk first saw that an answer has ended.
        self._ended_at: dict[BookEntry, float] = {}
        # Whether a thread looks at the answers.
        self._looks = False
        self._due = threading.Event()
        hub.add_fold(self.book)
        self._members.serve(self)
        self._members.before_leaving(self.drain)

    # Running

    @property
    def member_id(self) -> str:
        """The id of this process among the members of the log."""
        return self._members.own_id

    @property
    def running(self) -> int:
        """The number of answers that this process runs."""
        return len(self._runs)

    def runs(self, entry: BookEntry) -> bool:
        """Tell whether this process runs an answer."""
        return entry.begun.run in self._runs

    def start(
        self,
        begun: Begun,
        source: Source,
        *,
        batch: Batch,
        timeout: float,
        debug: bool,
    ) -> None:
        """Begin an answer and run it beside the caller.

        Raises BrokerUnavailable, and StateFull if the log keeps no further answer. Then
        the source was not started.
        """
        run = self.enrol(begun, source, batch=batch, timeout=timeout, debug=debug)
        try:
            self._beside(tracing.carried(run.runner.run), "sse-answer")
        except RuntimeError as error:
            source.stop()
            self.close(run)
            raise BrokerUnavailable("this process has no room for a thread") from error

    def enrol(
        self, begun: Begun, source: Source, *, debug: bool = False, **options: Any
    ) -> "_Run":
        """Append the beginning of an answer, and return its run. Nothing runs yet.

        Raises BrokerUnavailable and StateFull.
        """
        run = _Run(
            self,
            Runner(
                begun,
                source,
                append=self._append_step,
                max_bytes=self._max_bytes,
                debug=debug,
                clock=self.hub.clock,
                load=lambda: self.running / _AT_FULL_PACE,
                **options,
            ),
        )
        with self._lock:
            self._runs[begun.run] = run
        try:
            # The others must know that this process lives before the answer begins.
            self._members.enter()
            self._append_step(records.begin(begun))
        except BaseException:
            source.stop()
            self.close(run)
            raise
        self._departures().add(run, None)
        return run

    def close(self, run: "_Run") -> None:
        """Let go of a run, because its answer has ended."""
        with self._lock:
            self._runs.pop(run.runner.begun.run, None)
        self._departures().remove(run)

    def drain(self) -> None:
        """End all answers of this process, because it is going away."""
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.worker_leaves()
        until = time.monotonic() + _DRAIN_SECONDS
        for run in runs:
            run.runner.over.wait(max(0.0, until - time.monotonic()))

    def abandon(self) -> None:
        """Let go of all answers of this process at once, because its hub closes.

        Their iterables end. Another process appends the end ``lost``.
        """
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.cut()
            run.worker_leaves()
            self.close(run)

    # Looking

    def find(self, answer_id: str) -> BookEntry | None:
        """Return an answer, None if there is none with this id.

        An answer that another worker has just begun is waited for. Raises
        BrokerUnavailable if this worker cannot follow the log.
        """
        self.hub.start()
        entry = self.book.get(answer_id)
        if entry is None:
            self.hub.wait_until_read(self._patience)
            entry = self.book.get(answer_id)
        return entry

    def entries(self) -> list[BookEntry]:
        """Return all answers, the oldest first.

        The newest of other workers may be missing while this worker is behind the log.
        Raises BrokerUnavailable if it cannot read the log at all.
        """
        self.hub.start()
        try:
            self.hub.wait_until_read(self._patience)
        except BrokerUnavailable:
            if not self.hub.ready:
                raise
        return self.book.entries()

    def stop(self, answer_id: str) -> bool:
        """End an answer on every worker; False if it does not run.

        Raises BrokerUnavailable.
        """
        entry = self.find(answer_id)
        if entry is None or not entry.is_running:
            return False
        self._end(entry, "stopped")
        return True

    def _end(self, entry: BookEntry, reason: str, message: str = "") -> None:
        ended = Ended(reason=reason, message=message, id=new_end_id())
        record = replace(records.end(entry.begun, ended), traceparent=entry.traceparent)
        self._append_step(record)

    # Readers

    def reader_came(self, entry: BookEntry) -> None:
        """Count a reader of this worker."""
        with self._lock:
            self._readers[entry] = self._readers.get(entry, 0) + 1
        self._wake()

    def reader_left(self, entry: BookEntry) -> None:
        """Count a reader of this worker no longer."""
        with self._lock:
            self._readers[entry] -= 1
            if not self._readers[entry]:
                del self._readers[entry]
        self._wake()

    # A cause of the members

    def needs_members(self) -> bool:
        """Tell whether an answer runs here, or anywhere else."""
        return bool(self._runs) or any(e.is_running for e in self.book.entries())

    def member_left(self, member_id: str) -> None:
        """Note that a member is gone. Called in the order of the log."""
        if member_id == self._members.own_id:
            # This process was only stopped, and the others have written it off.
            self._said.clear()
        self.book.member_left(member_id)

    # The regular look

    def _note_change(self) -> None:
        for run in list(self._runs.values()):
            run.listen()
        self._wake()

    def _wake(self) -> None:
        self._due.set()
        with self._lock:
            begins, self._looks = not self._looks, True
        if begins:
            try:
                self._beside(self._run, "sse-answers")
            except RuntimeError:
                # The next change tries again.
                self._looks = False

    def _run(self) -> None:
        closed = self.hub.closed
        while not closed.is_set():
            self._due.clear()
            with surviving(self._say_failure):
                self.look()
            with self._lock:
                if not self._needed() and not self._due.is_set():
                    self._looks = False
                    return
            if self._due.is_set():
                # Readers that come and go are told together.
                closed.wait(0.02)
            else:
                self._due.wait(_LOOK_SECONDS)

    def _needed(self) -> bool:
        return bool(self.book.entries() or self.book.strays or self._readers)

    def _say_failure(self) -> None:
        text = "the look at the answers failed, and goes on"
        self._rare_log.exception("SSE-1608", text)

    def look(self) -> None:
        """Append everything that is due for the answers of the book."""
        now = self.hub.clock()
        entries = self.book.entries()
        self._said.intersection_update(entries)
        for gone in self._ended_at.keys() - set(entries):
            del self._ended_at[gone]
        with contextlib.suppress(BrokerUnavailable):
            for entry in entries:
                with contextlib.suppress(StateFull):
                    self._look_at(entry, now)
            for answer_id, run, key in list(self.book.strays):
                self._append(records.forget(answer_id, run, key))

    def _look_at(self, entry: BookEntry, now: float) -> None:
        if not entry.is_running:
            since = now - self._ended_at.setdefault(entry, now)
            if entry.begun.runner != self._members.own_id:
                since -= _AFTER_RUNNER_SECONDS
            self._look_at_ended(entry, since)
            return
        begun = entry.begun
        is_own = begun.runner == self._members.own_id
        if entry.runner_is_gone or (is_own and begun.run not in self._runs):
            log.warning(
                "SSE-1609",
                "the answer %s is lost: the process that produced it is gone",
                begun.id,
            )
            self._end(entry, "lost", _LOST)
            return
        some = entry in self._readers
        if some != (entry in self._said):
            self._members.enter()
            self._append(records.readers(begun, self._members.own_id, some=some))
            (self._said.add if some else self._said.discard)(entry)

    def _look_at_ended(self, entry: BookEntry, since: float) -> None:
        """Keep what was said before the end, and later remove it."""
        begun = entry.begun
        if since >= begun.keep:
            # The answer's own key comes last: all other keys are found through it.
            for key in sorted(entry.keys, key=lambda each: each == records.ANSWER):
                self._append(records.forget(begun.id, begun.run, key))
        elif since >= 0.0 and entry.lacks_snapshot:
            self._append(records.snapshot(begun, entry.content, is_last=True))


class _Run:
    """One answer of this process, between its runner, its entry and the worker."""

    def __init__(self, desk: Desk, runner: Runner) -> None:
        self.runner = runner
        self._desk = desk
        self._entry: BookEntry | None = None

    def listen(self) -> None:
        """Listen to the entry of this run, once the book has it."""
        begun = self.runner.begun
        entry = self._desk.book.get(begun.id)
        if self._entry is not None or entry is None:
            return
        if entry.begun.run == begun.run:
            self._entry = entry
            entry.listen(self._look)
            self._look()
        elif entry.is_running:
            log.warning(
                "SSE-1610",
                "the answer %s runs already: the second one is not produced",
                begun.id,
            )
            self._end()

    def _look(self) -> None:
        entry = self._entry
        if entry is None or not entry.is_running or entry.is_forgotten:
            self._end()
        else:
            self.runner.note_readers(some=bool(entry.readers), was_read=entry.was_read)

    def _end(self) -> None:
        self.runner.note_end()
        self._desk.close(self)

    # Called by the watch for departures

    def probe(self) -> None:
        """Do nothing: no peer is watched."""

    def peer_left(self) -> None:
        """Do nothing: an answer outlives its readers."""

    def worker_leaves(self) -> None:
        """End the answer: its worker has no more time."""
        self.runner.end_now("shutdown")

    def cut(self) -> None:
        """Wait for the log no longer."""
        self.runner.over.set()


def _in_thread(function: Callable[[], None], name: str) -> None:
    # An empty context: the caller's context may hold a request.
    run = contextvars.Context().run
    threading.Thread(target=run, args=(function,), name=name, daemon=True).start()
