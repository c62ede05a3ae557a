"""A follower of an SQLite log: a real thread reads, and an iterator yields its batches.

Knows how the thread is woken, and which records need not be read. Does not know the
content of the file; ``log_file`` does.
"""

from collections import deque
from collections.abc import Callable, Iterator

from ...errors import BrokerUnavailable
from ...events.record import Cursor, GapReason, is_beyond
from ...runtime import greenlets, native
from ...runtime.bell import Bell, new_bell
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import FirstTime, Trouble
from ..base import LogBatch
from . import doorbell
from .doorbell import Ring
from .log_file import LogFile
from .view import Appended

log = CodedLog(__name__)

# How often a follower checks the file without being woken, in case a ring is lost.
# Without Unix sockets it checks so often that nobody notices the delay.
_LOOK_SECONDS = 0.5
_LOOK_WITHOUT_BELL_SECONDS = 0.05

# How many batches a follower's thread reads ahead of the worker.
_READ_AHEAD = 4

# How long a follower waits before it tries a failing file again.
_TROUBLE_SECONDS = 1.0


class LogFollower:
    """Read the log in a real thread and hand its batches to an iterator."""

    def __init__(
        self,
        file: LogFile,
        after: Cursor,
        *,
        directory: doorbell.Directory,
        join: Callable[[], None],
        note: Callable[[Cursor], None],
    ) -> None:
        self._file = file
        self._after = after
        self._directory = directory
        self._join = join
        self._note = note
        self._door: doorbell.Doorbell | None = None
        self._read: deque[LogBatch | Exception] = deque()
        self._room = native.NativeFlag()
        # The last batches that this process has appended. Those that follow on need not
        # be read back from the file, which takes as long as appending them.
        self._offered: deque[Appended] = deque(maxlen=_READ_AHEAD)
        # Whether the file may have records that were not offered.
        self._has_others = True
        self._stopped = False
        self._bell: Bell | None = None

    def offer(self, appended: Appended) -> None:
        """Take records that this process has appended, before it rings."""
        self._offered.append(appended)

    def stop(self) -> None:
        """End the thread and the iterator."""
        self._stopped = True
        self._room.set()
        if self._bell is not None:
            self._bell.ring()

    def batches(self) -> Iterator[LogBatch]:
        """Yield the batches that the thread has read, until stop()."""
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
                            # Let requests run between the batches of a flood.
                            greenlets.breathe()
                    elif isinstance(found, BrokerUnavailable):
                        log.warning(
                            "SSE-1204", "cannot follow the log, trying again: %s", found
                        )
                    else:
                        raise found
                if not self._stopped:
                    bell.wait()
        finally:
            bell.close()

    def _start(self, bell: Bell) -> None:
        """Start the thread, waiting until this process has room for one."""
        first_time = FirstTime()
        while not self._stopped:
            try:
                native.start_thread(self._run)
            except RuntimeError:
                if first_time("no room"):
                    log.warning(
                        "SSE-1206",
                        "no room for a thread to follow the log, trying again",
                    )
                bell.wait(_TROUBLE_SECONDS)
            else:
                return
        self._file.close()

    def _run(self) -> None:
        self._door = self._directory.doorbell()
        try:
            self._read_on()
        except Exception as error:  # noqa: BLE001 - batches() raises it
            self._hand_over(error)
        finally:
            if self._door is not None:
                self._door.close()
            self._file.close()

    def _read_on(self) -> None:
        trouble = Trouble()
        while not self._stopped:
            while (own := self._next_own()) is not None:
                self._go_on(own)
            if not self._has_others:
                self._wait()
                continue
            try:
                self._join()
                batch = self._file.read(self._after)
            except BrokerUnavailable as error:
                if trouble.is_news(str(error)):
                    self._hand_over(error)
                self._room.wait(_TROUBLE_SECONDS)
                continue
            trouble.is_over()
            if batch.cursor != self._after or batch.gap is not None:
                if batch.cursor.epoch != self._after.epoch and batch.gap is None:
                    # Another process began a new epoch. Only that process knows whether
                    # records were lost, so report a gap to be safe.
                    batch = LogBatch((), batch.cursor, GapReason.EPOCH)
                self._go_on(batch)
            if self._file.has_read_all(batch.cursor):
                self._has_others = False

    def _next_own(self) -> LogBatch | None:
        """Return the batch of this process that follows on, None if there is none."""
        while self._offered:
            before, batch = self._offered.popleft()
            if before == self._after != batch.cursor:
                return batch
            if not is_beyond(self._after, before):
                # Another process has appended before it, and may have died before its
                # ring.
                self._has_others = True
        return None

    def _go_on(self, batch: LogBatch) -> None:
        self._after = batch.cursor
        self._note(batch.cursor)
        self._hand_over(batch)

    def _wait(self) -> None:
        """Wait until the log may have new records, or until stop()."""
        while not self._stopped:
            if self._door is None:
                self._room.wait(_LOOK_WITHOUT_BELL_SECONDS)
            elif (ring := self._door.wait(_LOOK_SECONDS)) is not None:
                self._has_others = ring is Ring.OTHER
                return
            elif not self._door.is_there():
                # The folder of the doorbells was removed.
                self._door.close()
                self._door = self._directory.doorbell()
            try:
                self._has_others = self._file.is_changed()
            except BrokerUnavailable:
                # The next read reports the error.
                self._has_others = True
            if self._has_others:
                return

    def _hand_over(self, found: LogBatch | Exception) -> None:
        self._read.append(found)
        if self._bell is not None:
            self._bell.ring()
        while len(self._read) >= _READ_AHEAD and not self._stopped:
            self._room.wait(_LOOK_SECONDS)
