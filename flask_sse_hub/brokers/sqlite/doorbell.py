"""Waking the other processes of a machine: a Unix datagram to each one's socket.

A datagram says only that there is something new; what it is stands in the log. Where
there are no Unix sockets nobody rings, and followers look more often.
"""

import _socket
import contextlib
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

from ...runtime.private_directory import private_directory, user

# The address of a Unix socket has room for 108 bytes, with the zero at its end.
_MAX_ADDRESS_BYTES = 107

# A socket's own name within the directory: process id, a dot and eight hex digits.
_NAME_BYTES = 20


class Directory:
    """The directory of the sockets for a log's file; its owner's only."""

    def __init__(self, path: Path) -> None:
        beside = path.with_name(path.name + ".bells")
        if len(os.fsencode(beside)) + 1 + _NAME_BYTES > _MAX_ADDRESS_BYTES:
            name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
            beside = Path(tempfile.gettempdir(), f"sse-hub-{user()}-{name}")
        self.path = beside

    def doorbell(self) -> "Doorbell | None":
        """Return a door of this process, None where there can be none."""
        try:
            self._make()
            return Doorbell(self.path)
        except OSError:
            return None

    def ringer(self) -> "Ringer | None":
        """Return what rings at all doors, None where there are none."""
        try:
            self._make()
            return Ringer(self.path)
        except OSError:
            return None

    def _make(self) -> None:
        if not hasattr(_socket, "AF_UNIX"):
            raise OSError("there are no Unix sockets")
        private_directory(self.path)


class Doorbell:
    """One process's socket, at which it waits. Used by one real thread."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / f"{os.getpid()}.{secrets.token_hex(4)}"
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        self._socket.bind(os.fsencode(self._path))

    def wait(self, timeout: float) -> bool:
        """Wait until somebody rings, or for ``timeout`` seconds; tell which."""
        self._socket.settimeout(timeout)
        rung = False
        with contextlib.suppress(OSError):
            rung = bool(self._socket.recv(1))
            # All rings so far mean one look at the log.
            self._socket.settimeout(0)
            while self._socket.recv(1):
                pass
        return rung

    def is_there(self) -> bool:
        """Tell whether others can find it."""
        return self._path.exists()

    def close(self) -> None:
        """Leave no socket behind."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


class Ringer:
    """Rings at all doors but those that do not answer. Used by one real thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        self._socket.settimeout(0)

    def ring(self) -> None:
        """Wake every process that waits. Never waits itself, and never fails."""
        try:
            names = os.listdir(self._directory)  # noqa: PTH208 - a Path each is slow
        except OSError:
            return
        for name in names:
            address = os.path.join(self._directory, name)  # noqa: PTH118
            try:
                self._socket.sendto(b"!", address)
            except BlockingIOError:
                # Its bell rings already.
                continue
            except ConnectionRefusedError:
                # Its process died without a word.
                Path(address).unlink(missing_ok=True)
            except OSError:
                continue

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()
