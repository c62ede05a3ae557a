"""The broker for one machine, which keeps its log in an SQLite file.

All access to the disk runs in real threads, so that waiting for the disk never stops
the greenlets of the process. Knows threads and how other processes are woken. Does not
know the content of the file; ``log_file`` does.
"""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...errors import BrokerUnavailable
from ...events.address import Address
from ...events.record import Cursor, Record, Retention
from ...runtime import native
from ...runtime.private_directory import make_directories
from ..base import Broker, LogBatch, LogError, LogState, Replay
from ..thread import BrokerThread, Call
from . import doorbell
from .follower import LogFollower
from .heads import Heads
from .log_file import LogFile
from .membership import Membership

log = logging.getLogger(__name__)

# How long a caller waits for the disk before it receives BrokerUnavailable.
_CALL_SECONDS = 5.0

# A write-ahead log is cut to a few megabytes when nobody reads it any more.
_LARGE_WAL_BYTES = 67_108_864


class SQLiteBroker(Broker):
    """Keep a log in an SQLite file, for every process of one machine.

    The log survives restarts and killed processes. After a loss of power the last
    commits may be missing; their ids are never given again.
    """

    reach: ClassVar[Literal["process", "machine", "network"]] = "machine"

    def __init__(
        self,
        path: Path,
        retention: Retention | None,
        *,
        create: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Without links: each process finds the same lock and the same doorbells, by
        # whichever path it knows the file.
        path = path.resolve()
        self._path = path
        self._retention = retention
        self._create = create
        self._clock = clock
        self._followers: set[LogFollower] = set()
        self._closed = False
        # Guards _closed, and additions to _followers.
        self._lock = native.native_lock()
        # Guards joining and leaving, and _left. Only real threads may take it, because
        # they wait for the disk under it.
        self._joining = native.native_lock()
        self._left = False
        self._membership = Membership(path)
        self._heads = Heads(path)
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
        return LogFile(
            self._path, self._retention, create=self._create, clock=self._clock
        )

    def publish(self, record: Record) -> Cursor:
        """Append a record. Concurrent publishes share one commit."""
        cursor: Cursor = self._writer.ask(record)
        return cursor

    def publish_together(self, records: Sequence[Record]) -> list[Cursor | LogError]:
        """Append several records, which share one commit."""
        return self._writer.ask_together(records)

    def follow(self, after: Cursor) -> Iterator[LogBatch]:
        """Yield the records after a cursor, which a real thread reads."""
        follower = LogFollower(
            self._log_file(),
            after,
            directory=self._directory,
            join=self._join,
            note=self._heads.note,
        )
        with self._lock:
            if self._closed:
                return
            self._followers.add(follower)
        try:
            yield from follower.batches()
        finally:
            follower.stop()
            # Without the lock: the garbage collector may end this generator in a thread
            # that holds the lock. Each operation of a set is atomic.
            self._followers.discard(follower)

    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return a page of the retained records after a cursor."""
        found: Replay = self._reader.ask(lambda file: file.replay(after, page=page))
        return found

    def bridge(self, after: Cursor, addresses: Sequence[Address]) -> Cursor | None:
        """Return where a reader of some addresses goes on after a trim."""
        found: Cursor | None = self._reader.ask(
            lambda file: file.bridge(after, addresses)
        )
        return found

    def state(self) -> LogState:
        """Return the newest record of each address and key, in log order."""
        found: LogState = self._reader.ask(LogFile.state)
        return found

    def head(self) -> Cursor:
        """Return the cursor of the newest record."""
        found: Cursor = self._reader.ask(LogFile.head)
        return found

    def seen_head(self) -> Cursor:
        """Return the newest head that a process of this machine has noted."""
        return self._heads.newest() or self.head()

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain."""
        found: Cursor = self._reader.ask(lambda file: file.tail(max_bytes))
        return found

    def ended(self) -> Sequence[Address]:
        """Return the addresses of the sessions that ended last, the oldest first."""
        found: Sequence[Address] = self._reader.ask(LogFile.ended)
        return found

    def resolve(self, cursor: Cursor) -> Cursor:
        """Return a valid cursor of an earlier epoch as one of the current epoch."""
        return self._reading.resolve(cursor)

    def concerns(self) -> Iterator[tuple[str, str]]:
        """Yield the faults of the file's folder and disk."""
        folder = self._path.parent
        if not folder.exists():
            # The first use makes it.
            return
        if not os.access(folder, os.W_OK):
            text = (
                f"{folder} is not writable for this user, and SQLite makes files in it"
            )
            yield (
                text,
                "Run this command as the user of the server, who needs the folder.",
            )
            return
        room = shutil.disk_usage(folder).free
        needed = 2 * (self._retention.bytes if self._retention else 0)
        if room < needed:
            text = (
                f"the disk of {folder} has {room // 2**20} MiB left, and the log may"
                f" need {needed // 2**20} MiB"
            )
            yield text, "Make room, or lower SSE_HUB_HISTORY_BYTES."
        with contextlib.suppress(OSError):
            wal = self._path.with_name(self._path.name + "-wal").stat().st_size
            if wal > max(needed, _LARGE_WAL_BYTES):
                text = (
                    f"the write-ahead log of {self._path} has {wal // 2**20} MiB: some"
                    " program keeps a reading transaction open"
                )
                yield text, "End programs that read the file, such as an sqlite3 shell."

    def close(self) -> None:
        """End the followers. The file stays."""
        with self._lock:
            self._closed = True
            followers = self._followers.copy()
        for follower in followers:
            follower.stop()
        self._reader.stop()
        self._writer.stop()

    # The methods below run in real threads

    def _join(self) -> None:
        """Make this process a user of the file; do so again if its lock file is gone.

        The first process that uses the file begins a new epoch. While no process used
        it, the file may have lost its newest records in a loss of power, or an older
        copy may have replaced it. The ids of lost records must not be given again.
        """
        with self._joining:
            if self._left:
                # A follower may still be reading when the broker is closed.
                raise BrokerUnavailable("the broker is closed")
            if self._membership.held:
                return
            try:
                if self._create:
                    make_directories(self._path.parent)
            except OSError as error:
                raise BrokerUnavailable(
                    f"{self._path}: {error}; this process must be able to write here"
                ) from error
            with contextlib.closing(self._log_file()) as file:
                self._heads.open(alone=file.join(self._membership))
            if self._ringer is not None:
                self._ringer.close()
            self._ringer = self._directory.ringer()

    def _read(self, calls: list[Call]) -> None:
        # All these calls were made before this read, so one head answers all calls that
        # ask for it. Each new client asks for the head.
        head: Cursor | None = None
        for call in calls:
            try:
                if call.argument is LogFile.head:
                    head = head or self._ask(LogFile.head)
                    self._heads.note(head)
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
            answers = self._appending.append([call.argument for call in calls])
        except BrokerUnavailable as error:
            for call in calls:
                call.fail(error)
            return
        # Before the publishers are answered: no client that comes afterwards may take
        # these records for later ones.
        self._heads.note(self._appending.newest)
        appended = self._appending.appended
        if appended is not None:
            with self._lock:
                followers = self._followers.copy()
            for follower in followers:
                follower.offer(appended)
        # Followers are woken before publishers are answered, so that the events are on
        # their way a moment earlier.
        if self._ringer is not None:
            self._ringer.ring()
        for call, answer in zip(calls, answers, strict=True):
            call.answer(answer)

    def _stop_appending(self) -> None:
        self._appending.close()
        with self._joining:
            self._left = True
            if self._ringer is not None:
                self._ringer.close()
            self._heads.close()
            self._membership.leave()
