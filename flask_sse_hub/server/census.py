"""The census: how many clients each worker that shares a listening socket holds.

A small file in a directory of the user's own, with a slot for each worker, which only
that worker writes. Counts only: it knows neither servers nor hubs. What it says is a
hint: a count may be a moment old, and its worker may have died just now.
"""

import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ..runtime.private_directory import private_directory, user

# A process id, 0 where nobody has the slot, and its number of clients.
_SLOT = struct.Struct("=iI")

# Far more workers than a machine has; what lies beyond is not looked at.
_MOST_BYTES = 512 * _SLOT.size

# How old the knowledge may be of who is dead, and that the file is still there. To ask
# for each connection would take a system call for each worker.
_LOOK_SECONDS = 1.0


class Census:
    """One hub's part in it. Not for threads."""

    def __init__(
        self,
        listener: int,
        *,
        directory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if directory is None:
            directory = Path(tempfile.gettempdir(), f"sse-hub-{user()}-census")
        #: The file of all that share this listening socket, named by its inode: so
        #: those of two masters meet in it while one replaces the other.
        self.path = directory / str(listener)
        self._clock = clock
        self._file: int | None = None
        self._offset = 0
        self._dead: set[int] = set()
        self._looked = clock()

    @property
    def joined(self) -> bool:
        """Whether this hub has a slot."""
        return self._file is not None

    def join(self) -> None:
        """Take a slot, for now with no clients.

        Never waits, since who holds the lock may have been stopped. Raises OSError
        where it cannot be done, or not now.
        """
        private_directory(self.path.parent)
        while not self.joined:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                with _locked(file):
                    # Who had the lock before may have removed it as nobody's.
                    if _is_there(self.path, file):
                        self._offset = _free_slot(file)
                        _write(file, self._offset, os.getpid(), 0)
                        self._file = file
            finally:
                if not self.joined:
                    os.close(file)
        if self._offset == 0:
            self._remove_left()

    def tell(self, clients: int) -> None:
        """Say how many clients this hub holds. Raises OSError."""
        if self._file is not None:
            _write(self._file, self._offset, os.getpid(), clients)

    def counts(self) -> tuple[int, list[int]]:
        """Return how many clients this worker has, and each of the others.

        Those that died or left are not among them, nor those that have not joined yet.
        Raises OSError.
        """
        if self._file is None:
            return 0, []
        slots = _slots(self._file)
        now = self._clock()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._dead = {pid for pid, _ in slots if not _is_alive(pid)}
            if not _is_there(self.path, self._file):
                # Temporary files are cleaned away; who joins next makes a new one.
                self.leave()
        held: dict[int, int] = {}
        for pid, clients in slots:
            if pid and pid not in self._dead:
                # A process that has several hubs has several slots.
                held[pid] = held.get(pid, 0) + clients
        return held.pop(os.getpid(), 0), list(held.values())

    def leave(self) -> None:
        """Give the slot back; nobody reckons with this hub any more."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError), closing(os.fdopen(file, "r+b", 0)):
                _write(file, self._offset, 0, 0)

    def _remove_left(self) -> None:
        """Remove the files of listening sockets that are gone, with their workers."""
        for path in self.path.parent.iterdir():
            # What cannot be removed now is left to the next one.
            with suppress(OSError), path.open("r+b", 0) as left, _locked(left.fileno()):
                if not any(_is_alive(pid) for pid, _ in _slots(left.fileno())):
                    path.unlink()


@contextmanager
def _locked(file: int) -> Iterator[None]:
    """Be the only one who takes slots or removes files. Raises BlockingIOError."""
    # Windows has no such module, and no server that this is for.
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        # To close it would not be enough: a child may have been forked meanwhile.
        fcntl.flock(file, fcntl.LOCK_UN)


def _slots(file: int) -> list[tuple[int, int]]:
    """Return process and clients of each slot, in their order."""
    data = os.pread(file, _MOST_BYTES, 0)
    return list(_SLOT.iter_unpack(data[: len(data) // _SLOT.size * _SLOT.size]))


def _free_slot(file: int) -> int:
    """Return where the first slot is whose process is dead or has left."""
    slots = _slots(file)
    for number, (pid, _) in enumerate(slots):
        if not _is_alive(pid):
            return number * _SLOT.size
    if len(slots) * _SLOT.size >= _MOST_BYTES:
        raise OSError("the census has no slot left")
    return len(slots) * _SLOT.size


def _write(file: int, offset: int, pid: int, clients: int) -> None:
    os.pwrite(file, _SLOT.pack(pid, clients), offset)


def _is_there(path: Path, file: int) -> bool:
    """Tell whether others find this file under its name."""
    try:
        return path.stat().st_ino == os.fstat(file).st_ino
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        # Somebody else's process is none that could have written here.
        return False
    return True
