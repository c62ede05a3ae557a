"""The distribution of clients over the workers of one server, with and without spread.

Prints medians of rounds in turn. The shares are comparable between machines. Of the
times, only the ratios are.
"""

import re
import selectors
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing

from benchmarks.processes import Server
from tests.kit.ports import HOST

WORKERS = 4
ROUNDS = 5

#: The number of streams, and the seconds between two of them.
LOADS = [(400, 0.05), (400, 0.005), (400, 0.0), (2000, 0.0)]

# Ordinary requests, each on its own connection: one after each pause while the streams
# connect, and a fixed number when all streams are connected.
_BETWEEN_REQUESTS = 0.01
_AFTERWARDS = 200

_DEADLINE = 120.0


class Ask:
    """One request on its own connection, answered when its head has arrived."""

    def __init__(self, port: int, path: str) -> None:
        self.path = path
        self.worker = ""
        self.seconds = 0.0
        self._started = time.monotonic()
        self._head = b""
        self.socket = socket.create_connection((HOST, port))
        self.socket.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())

    def read(self) -> bool:
        """Read the available bytes; tell whether the head of the answer is complete."""
        chunk = self.socket.recv(4096)
        self._head += chunk
        if b"\r\n\r\n" not in self._head:
            if not chunk:
                raise RuntimeError(f"{self.path} was not answered: {self._head!r}")
            return False
        self.seconds = time.monotonic() - self._started
        signed = re.search(rb"X-Worker: (\d+)", self._head)
        if signed is None or b" 200 " not in self._head.splitlines()[0]:
            raise RuntimeError(f"{self.path}: {self._head!r}")
        self.worker = signed[1].decode()
        return True


class Load:
    """Requests that are sent at planned times, however long the answers take."""

    def __init__(self, port: int, held: ExitStack) -> None:
        self.answered: list[Ask] = []
        self._port = port
        self._held = held
        self._selector = held.enter_context(selectors.DefaultSelector())

    def run(self, plan: list[tuple[float, str]]) -> None:
        """Request each path at its time from now, and wait for all answers."""
        start = time.monotonic()
        plan = sorted(plan, reverse=True)
        while plan or self._selector.get_map():
            due = start + plan[-1][0] if plan else start + _DEADLINE
            left = due - time.monotonic()
            if plan and left <= 0:
                ask = Ask(self._port, plan.pop()[1])
                self._held.enter_context(closing(ask.socket))
                self._selector.register(ask.socket, selectors.EVENT_READ, ask)
                left = 0.0
            elif left <= 0:
                raise RuntimeError(f"no answer within {_DEADLINE} s")
            for key, _ in self._selector.select(left):
                if key.data.read():
                    self._selector.unregister(key.data.socket)
                    self.answered.append(key.data)


def measure(app: str, streams: int, apart: float) -> dict[str, float]:
    """Start a server, and return its figures."""
    with Server(app, workers=WORKERS) as server, ExitStack() as held:
        load = Load(server.port, held)
        while len({each.worker for each in load.answered}) < WORKERS:
            # Many at once, so that the workers that start last receive some too.
            load.run([(0.0, "/")] * 20)
        load.answered.clear()
        beside = int(max(streams * apart, 0.2) / _BETWEEN_REQUESTS)
        load.run(
            [(number * apart, "/events") for number in range(streams)]
            + [(number * _BETWEEN_REQUESTS, "/") for number in range(beside)]
        )
        while_coming = [each for each in load.answered if each.path == "/"]
        opened = [each for each in load.answered if each.path == "/events"]
        load.answered.clear()
        load.run([(number * _BETWEEN_REQUESTS, "/") for number in range(_AFTERWARDS)])
        shares = [*Counter(each.worker for each in opened).values()]
        shares += [0] * (WORKERS - len(shares))
        mean = streams / WORKERS
        return {
            "most": max(shares),
            "least": min(shares),
            "most / mean": max(shares) / mean,
            "deviation / mean": statistics.pstdev(shares) / mean,
            "connect p50": quantile(opened, 0.5),
            "connect p99": quantile(opened, 0.99),
            "request p99 meanwhile": quantile(while_coming, 0.99),
            "request p50 afterwards": quantile(load.answered, 0.5),
            "request p99 afterwards": quantile(load.answered, 0.99),
        }


def quantile(asks: list[Ask], part: float) -> float:
    """Return a quantile of the milliseconds to an answer; ``part`` is from 0 to 1."""
    seconds = sorted(each.seconds for each in asks)
    return seconds[min(int(part * len(seconds)), len(seconds) - 1)] * 1000


def report(streams: int, apart: float) -> None:
    """Measure one load, with and without spread in turn, and print its table."""
    ways: list[Callable[[], dict[str, float]]] = [
        lambda: measure("unspread", streams, apart),
        lambda: measure("spread", streams, apart),
    ]
    rounds = [[way() for way in ways] for _ in range(ROUNDS)]
    how = f"{apart * 1000:.0f} ms apart" if apart else "at once"
    print(f"\n{streams} streams {how}, {WORKERS} workers, medians of {ROUNDS} rounds")
    print(f"{'':26}{'as they come':>14}{'spread':>9}{'ratio':>7}")
    for key in rounds[0][0]:
        without, spread = (
            statistics.median(each[way][key] for each in rounds) for way in (0, 1)
        )
        ratio = f"{spread / without:7.2f}" if without else f"{'-':>7}"
        print(f"{key:26}{without:14.2f}{spread:9.2f}{ratio}")
    sys.stdout.flush()


def main() -> None:
    """Print a table for each load."""
    for streams, apart in LOADS:
        report(streams, apart)


if __name__ == "__main__":
    main()
