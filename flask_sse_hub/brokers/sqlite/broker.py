"""The log of one machine, in an SQLite file, for any number of its processes.

Whatever touches the disk runs in real threads, so that greenlets never wait for it all
at once. Knows threads and how others are woken; the file is another module's.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...errors import BrokerUnavailable
from ...events.record import Cursor, GapReason, Record, Retention
from ...runtime import greenlets, native
from ...runtime.bell import Bell, new_bell
from ..base import Broker, LogBatch, Replay
from ..thread import BrokerThread, Call
from . import doorbell
from .log_file import LogFile
from .membership import Membership

log = logging.getLogger(__name__)

# How long a caller waits for the disk before it is told that the outcome is unknown.
_CALL_SECONDS = 5.0

# The net below the doorbell: a follower looks by itself this often, and where there are
# no Unix sockets so much more often that nobody notices.
_LOOK_SECONDS = 0.5
_LOOK_WITHOUT_BELL_SECONDS = 0.05

# Batches that a follower's thread reads ahead of the worker.
_READ_AHEAD = 4

# A follower whose file is out of order tries again after this.
_TROUBLE_SECONDS = 1.0


class SQLiteBroker(Broker):
    """Keep a log in an SQLite file, for every process of one machine.

    Survives restarts and killed processes. After a loss of power the last commits may
    be missing; ids that were lost are never given again.
    """

    reach: ClassVar[Literal["process", "machine", "network"]] = "machine"

    def __init__(
        self,
        path: Path,
        retention: Retention | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._retention = retention
        self._clock = clock
        self._followers: set[_Follower] = set()
        # Guards the followers.
        self._lock = native.native_lock()
        # Guards joining, which only real threads do: they wait for the disk under it.
        self._joining = native.native_lock()
        self._membership = Membership(path)
        self._directory = doorbell.Directory(path)
        self._ringer: doorbell.Ringer | None = None
        self._appending = self._log_file()
        self._reading = self._log_file()
        self._writer = BrokerThread(
            self._append, finish=self._stop_appending, within=_CALL_SECONDS
        )
        self._reader = BrokerThread(
            self._read, finish=self._reading.close, within=_CALL_SECONDS
        )

    def _log_file(self) -> LogFile:
        return LogFile(self._path, self._retention, clock=self._clock)

    def publish(self, record: Record) -> Cursor:
        """Append a record; those that are published at the same time share a commit."""
        cursor: Cursor = self._writer.ask(record)
        return cursor

    def follow(self, after: Cursor) -> Iterator[LogBatch]:
        """Yield what comes after a cursor, read by a real thread."""
        follower = _Follower(
            self._log_file(), after, directory=self._directory, join=self._join
        )
        with self._lock:
            self._followers.add(follower)
        try:
            yield from follower.batches()
        finally:
            follower.stop()
            with self._lock:
                self._followers.discard(follower)

    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return a page of what is retained after a cursor."""
        found: Replay = self._reader.ask(lambda file: file.replay(after, page=page))
        return found

    def head(self) -> Cursor:
        """Return the cursor of the newest record."""
        found: Cursor = self._reader.ask(LogFile.head)
        return found

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about that many bytes remain."""
        found: Cursor = self._reader.ask(lambda file: file.tail(max_bytes))
        return found

    def resolve(self, cursor: Cursor) -> Cursor:
        """Return a cursor of an earlier epoch that is still good as one of now."""
        if cursor.offset <= self._reading.past.get(cursor.epoch, -1):
            return Cursor(self._reading.seen.epoch, cursor.offset)
        return cursor

    def close(self) -> None:
        """End the followers. The file stays."""
        with self._lock:
            followers = tuple(self._followers)
        for follower in followers:
            follower.stop()
        self._reader.stop()
        self._writer.stop()

    # In real threads

    def _join(self) -> None:
        """Become one of the processes that use the file, again if it was taken away.

        Whoever is the first of them starts a new epoch: while nobody watched, the file
        may have lost its newest records in a loss of power, or been replaced by an
        older copy, and their ids must not be given again.
        """
        with self._joining:
            if self._membership.held:
                return
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BrokerUnavailable(
                    f"{self._path}: {error}; this process must be able to write here"
                ) from error
            with contextlib.closing(self._log_file()) as file:
                file.join(self._membership)
            if self._ringer is not None:
                self._ringer.close()
            self._ringer = self._directory.ringer()

    def _read(self, calls: list[Call]) -> None:
        # All of these were asked before anything is read, so that one head serves all:
        # each client that comes asks for it.
        head: Cursor | None = None
        for call in calls:
            try:
                if call.argument is LogFile.head:
                    head = head or self._ask(LogFile.head)
                    call.set(head)
                else:
                    call.set(self._ask(call.argument))
            except BrokerUnavailable as error:
                call.fail(error)

    def _ask(self, question: Callable[[LogFile], Any]) -> Any:
        self._join()
        return question(self._reading)

    def _append(self, calls: list[Call]) -> None:
        try:
            self._join()
            cursors = self._appending.append([call.argument for call in calls])
        except BrokerUnavailable as error:
            for call in calls:
                call.fail(error)
            return
        # First those who wait for the log, then those who wait for an answer: the
        # event is on its way a moment earlier.
        if self._ringer is not None:
            self._ringer.ring()
        for call, cursor in zip(calls, cursors, strict=True):
            call.set(cursor)

    def _stop_appending(self) -> None:
        self._appending.close()
        with self._joining:
            if self._ringer is not None:
                self._ringer.close()
            self._membership.leave()


class _Follower:
    """Reads a log on in a real thread, and hands batches to whoever iterates."""

    def __init__(
        self,
        file: LogFile,
        after: Cursor,
        *,
        directory: doorbell.Directory,
        join: Callable[[], None],
    ) -> None:
        self._file = file
        self._after = after
        self._directory = directory
        self._join = join
        self._door: doorbell.Doorbell | None = None
        self._read: deque[LogBatch | Exception] = deque()
        self._room = native.NativeFlag()
        self._stopped = False
        self._bell: Bell | None = None

    def stop(self) -> None:
        """End the thread, and whoever waits for it."""
        self._stopped = True
        self._room.set()
        if self._bell is not None:
            self._bell.ring()

    def batches(self) -> Iterator[LogBatch]:
        """Yield what the thread has read, until stop()."""
        self._bell = bell = new_bell()
        try:
            self._start(bell)
            while not self._stopped:
                while self._read and not self._stopped:
                    found = self._read.popleft()
                    self._room.set()
                    if isinstance(found, LogBatch):
                        yield found
                        if self._read:
                            # A flood of them must not keep requests from their turn.
                            greenlets.breathe()
                    elif isinstance(found, BrokerUnavailable):
                        log.warning("the log cannot be followed for now: %s", found)
                    else:
                        raise found
                if not self._stopped:
                    bell.wait()
        finally:
            bell.close()

    def _start(self, bell: Bell) -> None:
        """Start the thread, as soon as this process has room for it."""
        said = False
        while not self._stopped:
            try:
                native.start_thread(self._run)
            except RuntimeError:
                if not said:
                    said = True
                    log.warning("no room for a thread to follow the log with, for now")
                bell.wait(_TROUBLE_SECONDS)
            else:
                return
        self._file.close()

    def _run(self) -> None:
        self._door = self._directory.doorbell()
        try:
            self._read_on()
        except Exception as error:  # noqa: BLE001 - whoever iterates is told
            self._hand_over(error)
        finally:
            if self._door is not None:
                self._door.close()
            self._file.close()

    def _read_on(self) -> None:
        trouble = ""
        while not self._stopped:
            try:
                self._join()
                batch = self._file.read(self._after)
            except BrokerUnavailable as error:
                if str(error) != trouble:
                    trouble = str(error)
                    self._hand_over(error)
                self._room.wait(_TROUBLE_SECONDS)
                continue
            trouble = ""
            if batch.cursor != self._after or batch.gap is not None:
                if batch.cursor.epoch != self._after.epoch and batch.gap is None:
                    # Others began a new epoch: whether anything is lost, they know.
                    batch = LogBatch((), batch.cursor, GapReason.EPOCH)
                self._after = batch.cursor
                self._hand_over(batch)
            else:
                self._wait()

    def _wait(self) -> None:
        """Wait until there is something to read, or this is stopped."""
        while not self._stopped:
            if self._door is None:
                self._room.wait(_LOOK_WITHOUT_BELL_SECONDS)
            elif self._door.wait(_LOOK_SECONDS):
                return
            elif not self._door.is_there():
                # Somebody has removed the folder.
                self._door.close()
                self._door = self._directory.doorbell()
            try:
                if self._file.is_changed():
                    return
            except BrokerUnavailable:
                # The read will say so.
                return

    def _hand_over(self, found: LogBatch | Exception) -> None:
        self._read.append(found)
        if self._bell is not None:
            self._bell.ring()
        while len(self._read) >= _READ_AHEAD and not self._stopped:
            self._room.wait(_LOOK_SECONDS)
