"""The heads of a log that its processes have seen, to look at without a transaction.

A small file beside the log has a slot for each process. A process writes into its slot
the newest record that it has committed or read. So a head in the file may lie behind
the log's, and never beyond it: a process that dies between a commit and its note leaves
the older head. Does not know the log.
"""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from itertools import compress
from pathlib import Path

from ...events.record import UNPLACED, Cursor, is_beyond
from ...runtime import native
from .connection import create_private

# The epoch and the offset, and then their checksum: a read may meet a write.
_HEAD = struct.Struct("<32sq")
_SUM = struct.Struct("<I")
_SLOT_BYTES = _HEAD.size + _SUM.size

# The workers of one server have neighbouring process ids. Two processes that share a
# slot may overwrite a newer head: it lags until the next record.
_SLOTS = 64


class Heads:
    """The heads as this process notes and sees them. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".heads")
        self._place = os.getpid() % _SLOTS * _SLOT_BYTES
        self._file: int | None = None
        self._mine = UNPLACED
        # Guards the fields above. The file is small, and stays in the kernel's memory.
        self._lock = native.native_lock()

    def open(self, *, alone: bool) -> None:
        """Open the file; empty it if ``alone``: no other process uses the log.

        Where there can be no file, as on a full disk, no head is noted or seen.
        """
        self.close()
        if not hasattr(os, "pwrite"):
            # Windows has no such call.
            return
        with contextlib.suppress(OSError):
            create_private(self._path)
            file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            if alone:
                os.ftruncate(file, 0)
            with self._lock:
                self._file, self._mine = file, UNPLACED

    def note(self, head: Cursor) -> None:
        """Note a cursor at which the newest record was, after a commit or a read."""
        with self._lock:
            if self._file is None or head == self._mine or is_beyond(self._mine, head):
                return
            packed = _HEAD.pack(head.epoch.encode(), head.offset)
            with contextlib.suppress(OSError):
                if head.epoch != self._mine.epoch:
                    self._forget_other_epochs(self._file, head.epoch)
                os.pwrite(
                    self._file, packed + _SUM.pack(zlib.crc32(packed)), self._place
                )
            self._mine = head

    def _forget_other_epochs(self, file: int, epoch: str) -> None:
        """Empty the slots of earlier epochs; their processes may be gone."""
        for place, cursor in _slots(file):
            if cursor is None or cursor.epoch != epoch:
                os.pwrite(file, bytes(_SLOT_BYTES), place)

    def newest(self) -> Cursor | None:
        """Return the newest head that any process has noted, None if it is unclear.

        It is unclear until this process has noted one, and while others have noted
        another epoch.
        """
        with self._lock:
            newest = self._mine
            if self._file is None or newest == UNPLACED:
                return None
            try:
                for _, cursor in _slots(self._file):
                    if cursor is None or cursor.epoch != newest.epoch:
                        return None
                    newest = max(newest, cursor)
            except OSError:
                return None
            return newest

    def close(self) -> None:
        """Note and see nothing more, until open()."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            native.original("os", "close")(file)


def _slots(file: int) -> Iterator[tuple[int, Cursor | None]]:
    """Yield the place of each slot in use, and its head; None while it is written."""
    data = os.pread(file, _SLOTS * _SLOT_BYTES, 0)
    # A slot in use begins with a character of its epoch. Each stream that opens comes
    # here: looking into all empty slots took two thirds of the time.
    whole = len(data) // _SLOT_BYTES * _SLOT_BYTES
    for place in compress(range(0, whole, _SLOT_BYTES), data[:whole:_SLOT_BYTES]):
        packed = data[place : place + _HEAD.size]
        (checksum,) = _SUM.unpack_from(data, place + _HEAD.size)
        if checksum != zlib.crc32(packed):
            yield place, None
        else:
            epoch, offset = _HEAD.unpack(packed)
            yield place, Cursor(epoch.rstrip(b"\0").decode(), offset)
