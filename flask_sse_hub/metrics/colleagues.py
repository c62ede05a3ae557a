"""Colleagues: the workers of one log on one machine, which answer each other.

Each worker listens at a Unix socket in a private directory of its user. The socket's
name is the worker's number. A question is one line, and the answer is everything up to
the end of the connection. A dead worker's socket refuses connections and is removed. A
worker that is stopped, or too busy, is silent. Does not know the questions.
"""

import atexit
import contextlib
import hashlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ..runtime import native
from ..runtime.closing import Closed
from ..runtime.coded_log import CodedLog
from ..runtime.per_process import Home, abandon_after_fork
from ..runtime.private_directory import private_directory, short_name, user
from ..runtime.rare_log import RareLog

log = CodedLog(__name__)

# How long a worker waits for all answers, and for the question of one connection. A
# scrape of Prometheus waits ten seconds, and a person not much longer.
_ANSWER_SECONDS = 2.0
_QUESTION_SECONDS = 1.0

# A search has up to a hundred characters, each of which JSON may write as twelve bytes.
_MAX_QUESTION_BYTES = 2_000

# The most bytes of one answer: ten thousand streams take two million.
_MAX_ANSWER_BYTES = 100_000_000

# Workers that begin together take their numbers one after the other. The holder of the
# lock may be stopped, so nobody waits for it without an end.
_JOIN_TRIES = 50
_JOIN_PAUSE_SECONDS = 0.01

# How long a worker waits before it tries to join again.
_AGAIN_SECONDS = 60.0

# Room for the digits of a number in a socket's address.
_NAME_BYTES = 10


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of other workers by number, and the numbers of silent workers."""

    given: Mapping[int, bytes]
    silent: tuple[int, ...]


class Colleagues:
    """The workers of one log, seen by one of them or by a program beside them.

    ``name`` stands for the log. ``answer`` returns the answer to a question.
    """

    def __init__(
        self,
        name: str,
        *,
        answer: Callable[[str], bytes] = lambda _: b"",
        directory: Path | None = None,
    ) -> None:
        if directory is None:
            directory = Path(tempfile.gettempdir(), f"sse-hub-{user()}-workers")
        #: The directory of the sockets. The name of a log may be long, or have a
        #: password in it.
        self.path = (
            directory / hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        )
        self._answer = answer
        self._home = Home()
        self._rare_log = RareLog(log)
        # Guards joining and leaving.
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._left = False
        self._new = True
        #: The number of this worker, None before it has joined.
        self.number: int | None = None

    # One of the workers

    def join(self) -> None:
        """Take a number and listen. A second call does nothing, unless it is gone.

        Raises OSError if this system or its directory for temporary files has no place
        for the sockets.
        """
        with self._lock:
            if self._left or self._is_there():
                return
            self._stop_listening()
            if not hasattr(socket, "AF_UNIX"):
                raise OSError("this system has no Unix sockets")
            private_directory(self.path.parent)
            private_directory(self.path)
            with _locked(self.path / "lock"), self._short() as short:
                self._listen(short)
        if self._new:
            self._new = False
            abandon_after_fork(self)
            atexit.register(self.leave)

    def run(self, closed: Closed) -> None:
        """Join, and answer questions, until ``closed`` is set or leave() is called."""
        while not closed.is_set() and not self._left:
            try:
                self.join()
            except OSError as error:
                log.debug("other workers cannot ask this one: %s", error)
                closed.wait(_AGAIN_SECONDS)
            else:
                self._serve()

    def _is_there(self) -> bool:
        """Tell whether other workers find this one.

        Systems clean up temporary files.
        """
        return self._socket is not None and (self.path / str(self.number)).exists()

    def _listen(self, short: str) -> None:
        for number in count():
            address = f"{short}/{number}"
            if not _is_free(address):
                continue
            listener = socket.socket(socket.AF_UNIX)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(address)  # noqa: PTH108 - the short name of a path
                listener.bind(address)
                listener.listen(16)
            except BaseException:
                listener.close()
                raise
            self._socket, self.number = listener, number
            return

    def _serve(self) -> None:
        """Answer questions until this socket is closed."""
        listener = self._socket
        while listener is not None and listener is self._socket:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if self._home.left:
                return
            with connection, contextlib.suppress(OSError):
                self._answer_one(connection)

    def _answer_one(self, connection: socket.socket) -> None:
        connection.settimeout(_QUESTION_SECONDS)
        question = _read_line(connection)
        try:
            answer = self._answer(question)
        except Exception:  # noqa: BLE001 - it is logged
            self._rare_log.exception(
                "SSE-1902", "cannot answer another worker's question"
            )
        else:
            connection.sendall(answer)

    def leave(self) -> None:
        """Stop listening. Other workers no longer find this one."""
        with self._lock:
            self._left = True
            self._stop_listening()
        atexit.unregister(self.leave)

    def _stop_listening(self) -> None:
        listener, self._socket = self._socket, None
        if listener is None or self._home.left:
            return
        with contextlib.suppress(OSError):
            (self.path / str(self.number)).unlink()
        with contextlib.suppress(OSError):
            # Ends the accept() that waits in another thread.
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def abandon(self) -> None:
        """Let go of the parent's socket in a forked child."""
        # A thread that held the lock does not exist in the child and cannot release it.
        self._lock = threading.Lock()
        listener, self._socket = self._socket, None
        self._left = True
        if listener is not None:
            # gevent's close may wait for the event loop.
            native.original("os", "close")(listener.detach())

    # Anybody

    def ask(self, question: str, *, only: int | None = None) -> Answers:
        """Return the answers of all other workers, or of only one of them."""
        wanted = {only} if only is not None else set(self.numbers())
        connections: dict[int, socket.socket] = {}
        silent = []
        deadline = time.monotonic() + _ANSWER_SECONDS
        given: dict[int, bytes] = {}
        try:
            with contextlib.suppress(OSError), self._short() as short:
                for number in sorted(wanted - {self.number}):
                    connection = socket.socket(socket.AF_UNIX)
                    try:
                        connection.settimeout(_QUESTION_SECONDS)
                        connection.connect(f"{short}/{number}")
                        connection.sendall(question.encode() + b"\n")
                    except (ConnectionRefusedError, FileNotFoundError):
                        connection.close()
                    except OSError:
                        connection.close()
                        silent.append(number)
                    else:
                        connections[number] = connection
            for number, connection in connections.items():
                try:
                    given[number] = _read_all(connection, deadline)
                except OSError:
                    silent.append(number)
        finally:
            for connection in connections.values():
                connection.close()
        return Answers(given, tuple(sorted(silent)))

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of the workers that listen, or have died a moment ago."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.path):  # noqa: PTH208 - names are all we need
                if name.isascii() and name.isdigit():
                    yield int(name)

    def _short(self) -> contextlib.AbstractContextManager[str]:
        return short_name(self.path, room=_NAME_BYTES)


def _is_free(address: str) -> bool:
    """Tell whether no worker listens at an address."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_QUESTION_SECONDS)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            # A worker that is stopped accepts nothing, and its queue is full.
            return False
    return False


def _read_line(connection: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\n"):
        chunk = connection.recv(_MAX_QUESTION_BYTES)
        data += chunk
        if not chunk or len(data) > _MAX_QUESTION_BYTES:
            raise OSError("this is no question")
    return data.decode(errors="replace").strip()


def _read_all(connection: socket.socket, deadline: float) -> bytes:
    chunks = []
    size = 0
    while True:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = connection.recv(65_536)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise OSError("the answer has no end")
    if not chunks:
        raise OSError("the worker gave no answer")
    return b"".join(chunks)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for attempt in count(1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _JOIN_TRIES:
                    raise
                time.sleep(_JOIN_PAUSE_SECONDS)
        yield
    finally:
        # Closing alone would not unlock it: a child forked meanwhile has it open.
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)
