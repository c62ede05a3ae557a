"""The price of a connect and of a publish, beside the same request without the hub.

One request at a time, in turn, on one worker: an empty view, a stream behind the same
login, a POST that echoes, a POST that publishes. Prints the CPU time of the worker with
all of its threads. Ratios are comparable between machines; the times are not.
"""

import re
import socket
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import PAYLOAD, Server
from tests.kit.ports import HOST

ROUNDS = 40

#: Requests of one kind in a round. There are few, since another process on the machine
#: may take the caches away at any time: the ratios are those of a round.
REQUESTS = 25

#: The seconds in which a worker without requests is measured.
IDLE_SECONDS = 5.0

_USERS = 20

# Connects to a channel without and with presence, and with the list of the people.
_CHANNELS = {
    "connect to a channel": "?channel=plain",
    "the same with presence": "?channel=present",
    "and with the people": "?channel=present&presence=1",
}


class Visit:
    """Requests to one server, each on its own connection, as one kind of visitor."""

    def __init__(self, server: Server, headers: Iterable[str] = ()) -> None:
        self._server = server
        self._headers = "".join(f"{each}\r\n" for each in headers)

    def _connect(self, request: str, body: bytes = b"") -> socket.socket:
        head = (
            f"{request} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
            f"{self._headers}\r\n"
        )
        connection = socket.create_connection((HOST, self._server.port), timeout=10.0)
        connection.sendall(head.encode() + body)
        return connection

    def ask(self, request: str, body: bytes = b"") -> bytes:
        """Return the answer to a request."""
        with self._connect(request, body) as connection:
            found = _read_until(connection, b"\r\n\r\n")
        if b" 200 " not in found[:20]:
            raise RuntimeError(f"{request}: {found!r}")
        return found

    def open(self, query: str = "") -> socket.socket:
        """Open a stream, and read its first event."""
        connection = self._connect(f"GET /events{query}")
        _read_until(connection, b"}\n\n")
        return connection

    def logged_in(self, name: str) -> "Visit":
        """Return the visits of a person that logs in."""
        (cookie,) = re.findall(rb"Set-Cookie: (\S+);", self.ask(f"POST /login/{name}"))
        return Visit(self._server, [f"Cookie: {cookie.decode()}"])


def _read_until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found:
        chunk = connection.recv(65536)
        if not chunk:
            raise RuntimeError(f"the connection ended: {found!r}")
        found += chunk
    return found


def cpu(server: Server) -> float:
    """Return the CPU seconds of a server's worker, more exactly than its clock ticks.

    Each thread's file begins with the nanoseconds that it has run.
    """
    (worker,) = server.workers
    files = Path(f"/proc/{worker.pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in files) / 1e9


class Costs:
    """The microseconds of CPU per request, by kind of request, in each round."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._found: dict[str, list[float]] = {}

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Measure the requests that are made in this block."""
        before = cpu(self._server)
        yield
        # The worker answers before it has put everything away.
        time.sleep(0.02)
        used = (cpu(self._server) - before) / REQUESTS * 1e6
        self._found.setdefault(what, []).append(used)

    def show(self, what: str, *, base: str) -> None:
        """Print a kind's median, and the median of its ratios to another kind."""
        found = self._found[what]
        pairs = zip(found, self._found[base], strict=True)
        ratio = statistics.median(mine / other for mine, other in pairs)
        print(f"{what:24}{statistics.median(found):9.0f}{ratio:9.2f}")


def measure(settings: dict[str, str], *, rounds: int) -> None:
    """Print the costs of each kind of request with one broker."""
    for login in (False, True):
        with Server("visitors" if login else "hub", settings=settings) as server:
            _measure(server, rounds, login=login)


def _measure(server: Server, rounds: int, *, login: bool) -> None:
    visits = [Visit(server)]
    base = "empty view"
    if login:
        visits = [visits[0].logged_in(f"user-{n}") for n in range(_USERS)]
        base = "empty view, logged in"
    costs = Costs(server)
    # The hub starts, and publishers have one listener.
    with visits[0].open():
        for _ in range(rounds):
            with costs.of(base):
                for n in range(REQUESTS):
                    visits[n % len(visits)].ask("GET /empty" if login else "GET /")
            with costs.of("connect"):
                streams = [visits[n % len(visits)].open() for n in range(REQUESTS)]
            with costs.of("end"):
                for each in streams:
                    each.close()
            if login:
                for what, query in _CHANNELS.items():
                    with costs.of(what):
                        streams = [
                            visits[n % len(visits)].open(query) for n in range(REQUESTS)
                        ]
                    for each in streams:
                        each.close()
                    time.sleep(0.02)
                for path in ("echo", "publish/1"):
                    with costs.of(f"POST /{path}"):
                        for _ in range(REQUESTS):
                            visits[0].ask(f"POST /{path}", PAYLOAD)
        for what in (base, "connect", "end"):
            costs.show(what, base=base)
        if login:
            for what in _CHANNELS:
                costs.show(what, base=base)
            for path in ("echo", "publish/1"):
                costs.show(f"POST /{path}", base="POST /echo")
            before = cpu(server)
            time.sleep(IDLE_SECONDS)
            used = (cpu(server) - before) / IDLE_SECONDS
            print(f"{'idle for a second':24}{used * 1e6:9.0f}")


def main(rounds: int) -> None:
    """Print a table for each broker."""
    # The default, in the server's own folder.
    sqlite: dict[str, str] = {}
    for name, settings in {
        "sqlite": sqlite,
        "memory": {"broker_url": "memory://"},
    }.items():
        print(f"\n{name}: us of CPU, and ratios; medians of {rounds} rounds")
        measure(settings, rounds=rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
