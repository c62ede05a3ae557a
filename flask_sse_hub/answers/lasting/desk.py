"""The desk: the answers of one process, those that it runs and those that it reads.

Knows the hub. Every worker has a desk. The desks of all workers together see to it that
each answer ends once, also if its runner is gone, and that nothing of it stays behind.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ...brokers import traced
from ...errors import BrokerUnavailable, StateFull
from ...hub.hub import Hub
from ...runtime.coded_log import CodedLog
from ..batch import Batch
from ..departures import Watching, departures
from ..protocols import new_end_id
from ..source import Supply
from . import records
from .book import Book
from .entry import BookEntry
from .looks import Looks
from .own_run import OwnRun, in_thread
from .press import Press
from .records import Begun, Ended
from .runner import Runner
from .succession import NoRestarts, Restarts, Succession

log = CodedLog(__name__)

# The desks of other workers do the work of a runner's own desk this much later, so that
# they need not do it if that desk has.
_AFTER_RUNNER_SECONDS = 3.0

# How long a call waits until this worker has read the log up to its head.
_READ_SECONDS = 5.0

# How long a worker that goes away waits for the ends of its answers.
_DRAIN_SECONDS = 1.0


class Desk:
    """The answers of one process. Creating it starts nothing.

    ``beside`` runs a function in a thread of a name. It raises RuntimeError if there is
    no room for one. ``press`` runs the answers. ``patience`` is how long a call waits
    for the log, in seconds.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        max_bytes: int,
        restarts: Restarts | None = None,
        departures: Callable[[], Watching] = departures,
        beside: Callable[[Callable[[], None], str], None] | None = None,
        press: Press | None = None,
        patience: float = _READ_SECONDS,
    ) -> None:
        self.hub = hub
        self._members = hub.members
        # Steps are in the app's trace. Records by which workers keep house are not.
        broker = hub.broker
        self._append_step = partial(traced.append, broker)
        self._press = press or Press(
            partial(traced.append_together, broker),
            beside=beside or in_thread,
            clock=hub.clock,
        )
        self._append = broker.publish
        self._looks = Looks(self, closed=hub.closed, beside=beside or in_thread)
        self._patience = patience
        self.book = Book(hub.members, changed=self._note_change)
        self._max_bytes = max_bytes
        self._restarts = restarts or NoRestarts()
        self._succession = Succession(self, self._restarts)
        # Whether this process has started an answer, and whether it is going away.
        self._starts = self._leaves = False
        self._departures = departures
        # Guards the fields below.
        self._lock = threading.Lock()
        self._runs: dict[str, OwnRun] = {}
        # Runs whose answer the book does not have yet.
        self._new_runs: set[OwnRun] = set()
        # The number of readers of this worker, by answer.
        self._readers: dict[BookEntry, int] = {}
        # The moments at which this desk first saw that answers have ended.
        self._ended_at: dict[BookEntry, float] = {}
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
        run = self._runs.get(entry.begun.run)
        return run is not None and run.turn == entry.begun.turn

    @property
    def serves(self) -> bool:
        """Whether this process serves an app, and is not going away.

        A script that only looks at answers does not: it may end at any moment.
        """
        is_used = self._starts or self.hub.stats().opened > 0
        return is_used and not (self._leaves or self.hub.draining)

    def start(
        self,
        begun: Begun,
        supply: Supply,
        *,
        batch: Batch,
        timeout: float,
        debug: bool,
    ) -> None:
        """Begin an answer and run it beside the caller.

        Raises BrokerUnavailable, and StateFull if the log keeps no further answer. Then
        the items were not started.
        """
        self._starts = True
        run = self.enrol(begun, supply, batch=batch, timeout=timeout, debug=debug)
        try:
            self._press.add(run.runner)
        except RuntimeError as error:
            supply.stop()
            self.close(run)
            raise BrokerUnavailable("this process has no room for a thread") from error

    def enrol(
        self, begun: Begun, supply: Supply, *, debug: bool = False, **options: Any
    ) -> OwnRun:
        """Append the beginning of an answer, and return its run. Nothing runs yet.

        Raises BrokerUnavailable and StateFull.
        """
        run = self._new_run(begun, supply, debug=debug, **options)
        try:
            self.begin(begun)
        except BaseException:
            supply.stop()
            self.close(run)
            raise
        return run

    def begin(self, begun: Begun, *, traceparent: str | None = None) -> None:
        """Append the beginning of a turn. Raises BrokerUnavailable and StateFull."""
        # The others must know that this process lives before the turn begins.
        self._members.enter()
        self._append_step(replace(records.begin(begun), traceparent=traceparent))

    def go_on(self, entry: BookEntry) -> None:
        """Run an answer whose turn this process has, from its content on."""
        begun, content, restart = entry.begun, entry.content, entry.begun.restart
        if restart is None:
            return
        log.info("the answer %s goes on in this worker", begun.id)
        spent = entry.turn_at - entry.begun_at
        run = self._new_run(
            begun,
            self._restarts.source(begun, content),
            debug=self._restarts.debug,
            batch=restart.batch(is_text=begun.is_text),
            timeout=restart.timeout - spent,
            content=content,
        )
        run.listen()
        try:
            self._press.add(run.runner)
        except RuntimeError:
            # There is no room for a thread. The next look sees that nothing runs.
            self.close(run)

    def _new_run(self, begun: Begun, supply: Supply, **options: Any) -> OwnRun:
        run = OwnRun(
            self,
            Runner(
                begun,
                supply,
                max_bytes=self._max_bytes,
                clock=self.hub.clock,
                **options,
            ),
        )
        with self._lock:
            self._runs[begun.run] = run
            self._new_runs.add(run)
        self._departures().add(run, None)
        return run

    def close(self, run: OwnRun) -> None:
        """Let go of a run, because it is over."""
        with self._lock:
            if self._runs.get(run.id) is run:
                del self._runs[run.id]
            self._new_runs.discard(run)
        self._departures().remove(run)

    def note_leaving(self) -> None:
        """Go on with no answers of others any more."""
        self._leaves = True

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

        Their iterables end. Another process goes on with them, or ends them as lost.
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
        self.end(entry, "stopped")
        while entry.begun.restart is not None:
            # If another worker has gone on with it meanwhile, that end was too late.
            self.hub.wait_until_read(self._patience)
            if not entry.is_running:
                break
            self.end(entry, "stopped")
        return True

    def end(self, entry: BookEntry, reason: str, message: str = "") -> None:
        """Append the end of an answer. Raises BrokerUnavailable."""
        ended = Ended(reason=reason, message=message, id=new_end_id())
        record = replace(records.end(entry.begun, ended), traceparent=entry.traceparent)
        self._append_step(record)

    # Readers

    def reader_came(self, entry: BookEntry) -> None:
        """Count a reader of this worker."""
        with self._lock:
            self._readers[entry] = self._readers.get(entry, 0) + 1
        self._looks.wake(entry)

    def reader_left(self, entry: BookEntry) -> None:
        """Count a reader of this worker no longer."""
        with self._lock:
            self._readers[entry] -= 1
            if not self._readers[entry]:
                del self._readers[entry]
        self._looks.wake(entry)

    # A cause of the members

    def needs_members(self) -> bool:
        """Tell whether an answer runs here, or anywhere else."""
        return bool(self._runs) or any(e.is_running for e in self.book.entries())

    def member_left(self, member_id: str) -> None:
        """Note that a member is gone. Called in the order of the log."""
        if member_id == self._members.own_id:
            # This process was only stopped, and the others have written it off.
            for entry in self.book.entries():
                entry.is_told = None
        self.book.member_left(member_id)

    # The regular look

    def _note_change(self, entry: BookEntry | None) -> None:
        for run in list(self._new_runs):
            run.listen()
            if run.is_known:
                self._new_runs.discard(run)
        self._looks.wake(entry)

    @property
    def has_answers(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self.book.entries() or self.book.strays or self._readers)

    def look(self) -> None:
        """Append everything that is due for the answers of the book."""
        now = self.hub.clock()
        entries = self.book.entries()
        for gone in self._ended_at.keys() - set(entries):
            del self._ended_at[gone]
        with contextlib.suppress(BrokerUnavailable):
            for entry in entries:
                with contextlib.suppress(StateFull):
                    self._look_at(entry, now)
            self._succession.look(list(filter(self._is_orphan, entries)), now)
            for (answer_id, key), value in list(self.book.strays.items()):
                self._append(records.forget(answer_id, key, value))

    def look_at(self, changed: set[BookEntry]) -> None:
        """Append what is due for some answers."""
        now = self.hub.clock()
        with contextlib.suppress(BrokerUnavailable):
            for entry in changed:
                if not entry.is_forgotten:
                    with contextlib.suppress(StateFull):
                        self._look_at(entry, now)

    def _is_orphan(self, entry: BookEntry) -> bool:
        """Tell whether the runner of an answer is gone."""
        is_own = entry.begun.runner == self._members.own_id
        is_gone = entry.runner_is_gone or (is_own and not self.runs(entry))
        return entry.is_running and is_gone

    def _look_at(self, entry: BookEntry, now: float) -> None:
        begun = entry.begun
        if not entry.is_running:
            since = now - self._ended_at.setdefault(entry, now)
            if begun.runner != self._members.own_id:
                since -= _AFTER_RUNNER_SECONDS
            self._look_at_ended(entry, since)
            return
        if self.runs(entry):
            self._forget_keys(entry, entry.useless_keys)
        own_id, some, told = self._members.own_id, entry in self._readers, entry.is_told
        if some != (own_id in entry.readers if told is None else told):
            self._members.enter()
            # First: the others may write this process off right after the record.
            entry.is_told = some
            try:
                self._append(records.readers(begun, own_id, some=some))
            except BaseException:
                entry.is_told = None
                raise

    def _look_at_ended(self, entry: BookEntry, since: float) -> None:
        """Keep what was said before the end, and later remove it."""
        begun = entry.begun
        if since >= begun.keep:
            # The answer's own key comes last: all other keys are found through it.
            keys = sorted(entry.keys, key=lambda each: each == begun.key)
            self._forget_keys(entry, keys)
        elif since >= 0.0:
            self._forget_keys(entry, entry.useless_keys)
            if entry.lacks_snapshot:
                self._append(records.snapshot(begun, entry.content, is_last=True))

    def _forget_keys(self, entry: BookEntry, keys: list[str]) -> None:
        for key in keys:
            if (value := entry.keys.get(key)) is not None:
                self._append(records.forget(entry.begun.id, key, value))
