"""Doorbells: a process that has appended wakes the other processes of its machine.

Each follower has a Unix socket. A datagram to the socket says that the log has new
records, and does not carry them. Where the system has no Unix sockets there are no
doorbells, and followers check the log more often. This module does not know the log.
"""

import _socket
import contextlib
import os
import secrets
from enum import Enum, auto
from pathlib import Path

from ...runtime.private_directory import (
    give_to_owner_above,
    private_directory,
    short_name,
)

# A socket's name in the directory: the process id, a dot and eight hex digits.
_NAME_BYTES = 20

_OWN, _OTHER = b"o", b"!"


class Ring(Enum):
    """The broker that has appended."""

    #: Only the one whose doorbell it is, and once.
    OWN = auto()
    #: Perhaps others too.
    OTHER = auto()


class Directory:
    """The directory of the sockets for one log. Only its owner can enter it."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".bells")
        # The names of the doorbells that were made here.
        self._own: set[str] = set()

    def doorbell(self) -> "Doorbell | None":
        """Return a new doorbell, or None if there can be none."""
        try:
            self._make()
            return Doorbell(self.path, self._own)
        except OSError:
            return None

    def ringer(self) -> "Ringer | None":
        """Return a ringer for all doorbells, or None if there can be none."""
        try:
            self._make()
            return Ringer(self.path, self._own)
        except OSError:
            return None

    def _make(self) -> None:
        if not hasattr(_socket, "AF_UNIX"):
            raise OSError("this system has no Unix sockets")
        private_directory(self.path)


class Doorbell:
    """The socket at which a follower waits for a ring. Used by one real thread."""

    def __init__(self, directory: Path, own: set[str]) -> None:
        self._own = own
        self._path = directory / f"{os.getpid()}.{secrets.token_hex(4)}"
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        with short_name(directory, room=_NAME_BYTES) as short:
            self._socket.bind(os.path.join(short, self._path.name))  # noqa: PTH118
        # A ring needs the permission to write.
        give_to_owner_above(self._path)
        own.add(self._path.name)

    def wait(self, timeout: float) -> Ring | None:
        """Wait for a ring, for up to ``timeout`` seconds; None if none came."""
        self._socket.settimeout(timeout)
        rings = b""
        with contextlib.suppress(OSError):
            rings = self._socket.recv(1)
            # One read of the log answers all rings so far.
            self._socket.settimeout(0)
            while ring := self._socket.recv(1):
                rings += ring
        if not rings:
            return None
        # Where own rings have filled the socket's queue, others found no room.
        return Ring.OWN if rings == _OWN else Ring.OTHER

    def is_there(self) -> bool:
        """Tell whether the socket is still in its directory, where ringers look."""
        return self._path.exists()

    def close(self) -> None:
        """Close the socket and remove it from the directory."""
        self._own.discard(self._path.name)
        self._socket.close()
        self._path.unlink(missing_ok=True)


class Ringer:
    """Ring every doorbell in a directory. Used by one real thread."""

    def __init__(self, directory: Path, own: set[str]) -> None:
        self._directory = directory
        self._own = own
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        self._socket.settimeout(0)

    def ring(self) -> None:
        """Wake every follower that waits at a doorbell. Never blocks, never fails."""
        with (
            contextlib.suppress(OSError),
            short_name(self._directory, room=_NAME_BYTES) as short,
        ):
            for name in os.listdir(short):  # noqa: PTH208 - a Path each is slow
                ring = _OWN if name in self._own else _OTHER
                self._ring(os.path.join(short, name), ring)  # noqa: PTH118

    def _ring(self, address: str, ring: bytes) -> None:
        try:
            self._socket.sendto(ring, address)
        except BlockingIOError:
            # The socket's queue is full, so its process is being woken already.
            return
        except ConnectionRefusedError:
            # The process died without removing its socket.
            Path(address).unlink(missing_ok=True)
        except OSError:
            return

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()
