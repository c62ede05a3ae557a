"""The census: how many clients each worker that shares a listening socket holds.

The census is a small file in a private directory of the user. Each worker has a slot in
it, which only that worker writes. The counts are a hint: a count may be a moment old,
and its worker may just have died. Does not know servers, hubs or clients.
"""

import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ..runtime.per_process import Home
from ..runtime.private_directory import private_directory, user

# The id of a process and its number of clients. The id is 0 if the slot is free.
_SLOT = struct.Struct("=iI")

# Room for far more workers than a machine runs. The rest of a longer file is ignored.
_MOST_BYTES = 512 * _SLOT.size

# How often to check which workers are dead and whether the file is still there. A check
# for each connection would take a system call for each worker.
_LOOK_SECONDS = 1.0


class Census:
    """The part of one hub in the census. Not safe to share between threads."""

    def __init__(
        self,
        listener: int,
        *,
        directory: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if directory is None:
            directory = Path(tempfile.gettempdir(), f"sse-hub-{user()}-census")
        #: The file of all workers that share a listening socket. Its name is the inode
        #: of the socket, so the workers of two masters share the file while one master
        #: replaces the other.
        self.path = directory / str(listener)
        self._clock = clock
        self._file: int | None = None
        self._home = Home()
        self._offset = 0
        self._dead: set[int] = set()
        self._looked = clock()

    @property
    def joined(self) -> bool:
        """Whether this hub has a slot."""
        return self._own_file() is not None

    def _own_file(self) -> int | None:
        """Return the open file, None without a slot. A slot belongs to one process."""
        file = self._file
        if file is not None and self._home.left:
            # A forked child must not write its parent's slot.
            self._file = None
            os.close(file)
        return self._file

    def join(self) -> None:
        """Take a slot, with no clients yet.

        Never waits for the lock, since the process that holds it may be stopped. Raises
        OSError if the census cannot be joined, or is locked now.
        """
        private_directory(self.path.parent)
        while not self.joined:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                with _locked(file):
                    # The previous holder of the lock may have removed the file, as no
                    # worker had a slot in it.
                    if _is_there(self.path, file):
                        self._offset = _free_slot(file)
                        _write(file, self._offset, os.getpid(), 0)
                        self._file = file
                        self._home = Home()
            finally:
                if not self.joined:
                    os.close(file)
        if self._offset == 0:
            self._remove_left()

    def tell(self, clients: int) -> None:
        """Write how many clients this hub holds. Raises OSError."""
        file = self._own_file()
        if file is not None:
            _write(file, self._offset, os.getpid(), clients)

    def counts(self) -> tuple[int, list[int]]:
        """Return the number of clients of this worker, and of each other worker.

        Leaves out workers that have died or left, or have not joined yet. Raises
        OSError.
        """
        file = self._own_file()
        if file is None:
            return 0, []
        slots = _slots(file)
        now = self._clock()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._dead = {pid for pid, _ in slots if not _is_alive(pid)}
            if not _is_there(self.path, file):
                # Systems clean up temporary files. The next hub that joins makes a new
                # file.
                self.leave()
        held: dict[int, int] = {}
        for pid, clients in slots:
            if pid and pid not in self._dead:
                # A process with several hubs has several slots.
                held[pid] = held.get(pid, 0) + clients
        return held.pop(os.getpid(), 0), list(held.values())

    def leave(self) -> None:
        """Give the slot back. The other workers no longer count this hub."""
        file, self._file = self._own_file(), None
        if file is not None:
            with suppress(OSError), closing(os.fdopen(file, "r+b", 0)):
                _write(file, self._offset, 0, 0)

    def _remove_left(self) -> None:
        """Remove the files of listening sockets whose workers are all gone."""
        for path in self.path.parent.iterdir():
            # A file that cannot be removed now is left for the next hub that joins.
            with suppress(OSError), path.open("r+b", 0) as left, _locked(left.fileno()):
                if not any(_is_alive(pid) for pid, _ in _slots(left.fileno())):
                    path.unlink()


@contextmanager
def _locked(file: int) -> Iterator[None]:
    """Lock a file, to take a slot or remove the file. Raises BlockingIOError."""
    # Windows has no such module, and no server that needs a census.
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        # Closing the file would not unlock it: a child forked meanwhile has it open.
        fcntl.flock(file, fcntl.LOCK_UN)


def _slots(file: int) -> list[tuple[int, int]]:
    """Return the process id and the number of clients of each slot, in order."""
    data = os.pread(file, _MOST_BYTES, 0)
    return list(_SLOT.iter_unpack(data[: len(data) // _SLOT.size * _SLOT.size]))


def _free_slot(file: int) -> int:
    """Return the offset of the first slot whose process is dead or has left."""
    slots = _slots(file)
    for number, (pid, _) in enumerate(slots):
        if not _is_alive(pid):
            return number * _SLOT.size
    if len(slots) * _SLOT.size >= _MOST_BYTES:
        raise OSError(f"the census has no slot left after {len(slots)} workers")
    return len(slots) * _SLOT.size


def _write(file: int, offset: int, pid: int, clients: int) -> None:
    os.pwrite(file, _SLOT.pack(pid, clients), offset)


def _is_there(path: Path, file: int) -> bool:
    """Tell whether other workers find this open file under its path."""
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
        # The process of another user has not written this slot: only this user can.
        return False
    return True
