"""The relay: passes the events of an outbox on to the log, exactly once.

One runs in each process, in a thread of its own, from the first request or the first
stored event on. Relays take turns. A relay reads rows, appends them, and deletes them;
if it is killed in between, the next one appends them again under the same keys, and the
log takes none of them twice.

Knows the outbox and turns. Does not know Flask, or how the log is appended to.
"""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from weakref import WeakValueDictionary

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from ..errors import BrokerUnavailable, ConfigurationError, SSEHubError
from ..events.pending import PendingEvent
from ..events.record import Record
from ..hub.stats import OutboxStats
from ..hub.tasks import Tasks
from ..runtime.bell import Bell, new_bell
from ..runtime.coded_log import CodedLog
from ..runtime.per_process import Home
from ..runtime.rare_log import RareLog, Trouble
from ..runtime.survival import surviving
from .outbox import Outbox
from .outbox_table import Row
from .turns import connected, turn

log = CodedLog(__name__)

# How often a relay looks without being rung: for rows of processes that have ended, or
# that have no relay, as a Publisher.
_LOOK_SECONDS = 2.0

# The first wait for a turn, and after an error; it doubles up to the time above. A row
# that was stored while another relay ended its turn must not wait for the next look.
_BUSY_SECONDS = 0.05

# Rows of one turn. Each may have SSE_HUB_MAX_EVENT_BYTES, and all are in memory.
_ROWS = 32

# How long a process that ends waits for its own stored events. Others pass them on
# anyway, a little later.
_EXIT_SECONDS = 2.0

# How long a caller waits for a turn, and how long deleting rows is tried while a writer
# of an SQLite database is in the middle of a transaction. The pause in between.
_TURN_SECONDS = 5.0
_PAUSE_SECONDS = 0.01


class Relay:
    """Pass stored events on to the log.

    Args:
        outbox: The table.
        append: Appends a record to the log and returns its id.
        context: Enters the context in which the app's engine is known, and in which
            records are appended.
        may_append: Tells whether clients receive the events that the thread appends.

    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        append: Callable[[Record], str],
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
        may_append: Callable[[], bool] = lambda: True,
    ) -> None:
        self._outbox = outbox
        self._append = append
        self._context = context
        self._may_append = may_append
        self._home = Home()
        self._tasks = Tasks()
        self._tasks.add("outbox", self._run)
        self._bell: Bell | None = None
        self._closed = False
        # Set while no row of this process is known to wait.
        self._idle = threading.Event()
        self._idle.set()
        # The handles of events that this process has stored, by their key.
        self._expected: WeakValueDictionary[str, PendingEvent] = WeakValueDictionary()
        self._exits = False
        # Guards a turn of this process and all below. A receiver of a signal may store
        # an event within a turn.
        self._turn = threading.RLock()
        self._trouble = Trouble()
        self._rare_log = RareLog(log)
        # Whether the last turn has left rows.
        self._more = False
        # Rows that wait, and since when the oldest does, as of the last look.
        self._waiting = 0
        self._oldest = 0.0
        self._relayed = 0
        self._refused = 0

    def ring(self, event: PendingEvent, record: Record) -> None:
        """Pass rows on soon: a commit has stored this event.

        Never raises: the row is in the database, and a relay finds it.
        """
        if record.idempotency_key is not None:
            self._expected[record.idempotency_key] = event
        text = "events wait in the outbox"
        with surviving(lambda: self._rare_log.exception("SSE-1509", text)):
            if self._shares_connections():
                self.pass_all_on()
            else:
                self._idle.clear()
                self.start()
                if self._bell is not None:
                    self._bell.ring()

    def start(self) -> None:
        """Start the thread of this process. Only the first call does anything."""
        if self._closed or self._shares_connections():
            return
        if not self._exits:
            self._exits = True
            pid = os.getpid()
            atexit.register(lambda: self._finish(pid))
        self._tasks.start(failed=lambda: None)

    def _shares_connections(self) -> bool:
        """Tell whether threads cannot have connections of their own.

        So it is with SQLite in memory. A relay in another thread would commit the
        app's open transaction, or see another database.
        """
        with self._context():
            pool = self._outbox.engine().pool
        return isinstance(pool, SingletonThreadPool | StaticPool)

    def stats(self) -> OutboxStats:
        """Return the state of the outbox as of the last look of this process."""
        return OutboxStats(
            waiting=self._waiting,
            age=max(0.0, time.time() - self._oldest) if self._waiting else 0.0,
            relayed=self._relayed,
            refused=self._refused,
        )

    def close(self) -> None:
        """End the thread, after its turn. Rows that wait stay in the database."""
        self._closed = True
        if self._turn.acquire(timeout=_TURN_SECONDS):
            self._turn.release()
        if self._bell is not None:
            self._bell.ring()

    def _finish(self, pid: int) -> None:
        # A forked child has a copy of this exit function, but not of the thread.
        if os.getpid() == pid:
            self._idle.wait(_EXIT_SECONDS)
            self.close()

    def _run(self) -> None:
        self._bell = bell = new_bell()
        wait = _BUSY_SECONDS
        try:
            while not (self._closed or self._home.left):
                outcome = Outcome.ALL_DONE
                with surviving(self._report):
                    if self._may_append():
                        outcome = self.look()
                if outcome in (Outcome.BUSY, Outcome.TROUBLE):
                    # A commit rings the bell, which is no reason to look at once.
                    time.sleep(wait)
                    wait = min(2 * wait, _LOOK_SECONDS)
                    continue
                wait = _BUSY_SECONDS
                if outcome is Outcome.ALL_DONE:
                    self._idle.set()
                    bell.wait(_LOOK_SECONDS)
        finally:
            self._bell = None
            bell.close()

    def look(self) -> "Outcome":
        """Take one turn, and survive every error of the database and the log."""
        outcome = Outcome.TROUBLE
        with self._turn, surviving(self._report):
            try:
                outcome = self._take_turn()
            except OperationalError as error:
                if not _is_locked(error):
                    raise
                outcome = Outcome.BUSY
        if outcome is not Outcome.TROUBLE and (count := self._trouble.is_over()):
            log.info(
                "the events of the outbox are published again, after %d failures", count
            )
        return outcome

    def catch_up(self) -> None:
        """Pass on all rows, where commits do not do so themselves."""
        if not self._shares_connections():
            self.pass_all_on()

    def pass_all_on(self) -> None:
        """Pass on all rows that are in the database now, in the calling thread.

        Waits for another relay to end its turn. Gives up at an error, which is logged.
        """
        gives_up = time.monotonic() + _TURN_SECONDS
        while (outcome := self.look()) in (Outcome.MORE, Outcome.BUSY):
            if outcome is Outcome.BUSY:
                if time.monotonic() > gives_up:
                    return
                time.sleep(_PAUSE_SECONDS)

    def _report(self) -> None:
        error = sys.exc_info()[1]
        # The first line alone: SQLAlchemy adds the statement.
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        if self._trouble.is_news(text):
            log.warning("SSE-1510", "events wait in the outbox, trying again: %s", text)

    def _take_turn(self) -> "Outcome":
        with self._context(), connected(self._outbox.engine()) as connection:
            if not self._more:
                self._waiting, self._oldest = self._outbox.table.backlog(connection)
                connection.rollback()
                if not self._waiting:
                    return Outcome.ALL_DONE
            with turn(connection) as mine:
                if not mine:
                    return Outcome.BUSY
                rows = self._outbox.table.read(connection, _ROWS)
                if connection.dialect.name == "sqlite":
                    # A transaction that has read cannot write once another has written.
                    connection.rollback()
                self._pass_on(connection, rows)
        self._more = len(rows) == _ROWS
        return Outcome.MORE if self._more else Outcome.ALL_DONE

    def _pass_on(self, connection: Connection, rows: list[Row]) -> None:
        """Append rows in order and delete them, up to the first that has to wait."""
        done: list[Row] = []
        refused: list[tuple[Row, str]] = []
        try:
            for row in rows:
                try:
                    record = row.record()
                    event_id = self._append(record)
                except (BrokerUnavailable, ConfigurationError):
                    raise
                except SSEHubError as error:
                    # It would fail again, and keep all later rows waiting.
                    refused.append((row, str(error)))
                    self._rare_log.error(
                        "SSE-1511",
                        "the event in row %d of sse_hub_outbox can never be published:"
                        " its column problem says why",
                        row.number,
                        kind=type(error).__name__,
                    )
                    continue
                done.append(row)
                event = self._expected.pop(record.idempotency_key or "", None)
                if event is not None:
                    event.published(event_id)
        finally:
            if done or refused:
                self._settle(connection, done, refused)

    def _settle(
        self,
        connection: Connection,
        done: list[Row],
        refused: list[tuple[Row, str]],
    ) -> None:
        gives_up = time.monotonic() + _TURN_SECONDS
        while True:
            try:
                if done:
                    self._outbox.table.delete(connection, done)
                for row, problem in refused:
                    self._outbox.table.set_aside(connection, row, problem)
                connection.commit()
            except OperationalError as error:
                if not _is_locked(error) or time.monotonic() > gives_up:
                    raise
                connection.rollback()
                time.sleep(_PAUSE_SECONDS)
            else:
                break
        self._relayed += len(done)
        self._refused += len(refused)
        self._waiting = max(0, self._waiting - len(done) - len(refused))


def _is_locked(error: BaseException | None) -> bool:
    """Tell whether a writer of an SQLite database has not finished yet."""
    return isinstance(error, OperationalError) and "is locked" in str(error.orig)


class Outcome(Enum):
    """The outcome of one turn."""

    ALL_DONE = "no row waits"
    MORE = "more rows may wait"
    BUSY = "another relay, or a writer of an SQLite database, is at work"
    TROUBLE = "the database or the log has failed"
