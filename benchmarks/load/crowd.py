"""Very many clients in a separate process, controlled from here.

``crowd.c`` documents the commands, and how the clients count. A stream that ends, a
status that is not 200 or a deadline that has passed is a CrowdError, never a figure.
"""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.load.build import build

_SOURCE = Path(__file__).with_name("crowd.c")

#: How many connections may be opening at the same time; below any listener's backlog.
AT_ONCE = 100


class CrowdError(Exception):
    """Raised when the clients did not receive exactly the expected events."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The number of measured times, and their distribution in milliseconds."""

    count: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, found: dict[str, int]) -> Self:
        """Return the spread of times that the clients report in microseconds."""
        times = (found[key] / 1000 for key in ("p50", "p99", "max"))
        return cls(found["count"], *times)


@dataclass(frozen=True, slots=True)
class Connected:
    """How long it took to open the streams."""

    #: From the first connect to the head of the last stream.
    seconds: float
    #: From the connect of each stream to its first byte.
    first_byte: Spread


@dataclass(frozen=True, slots=True)
class Report:
    """The events that have arrived since the reset."""

    clients: int
    events: int
    bytes: int
    #: From the stamp of an event to its arrival at each client.
    latency: Spread
    #: For each stamp, the number of clients that received it, and the milliseconds
    #: until the last of them did.
    last: list[tuple[int, float]]


def stamped(size: int) -> bytes:
    """Return data of this number of bytes, which contains the current time."""
    # Linux has one monotonic clock for all processes.
    return b"@%019d@" % time.monotonic_ns() + b"x" * (size - 21)


class Crowd:
    """The clients, which are opened, waited for and closed together.

    Leaving the ``with`` block ends their process.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(build(_SOURCE))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            # Ctrl-C must not reach the clients: their caller may still need an answer.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def pid(self) -> int:
        """Return the id of the clients' process."""
        return self._process.pid

    def connect(
        self,
        count: int,
        *,
        port: int | None = None,
        unix: str | None = None,
        path: str = "/events",
        groups: int = 1,
        headers: tuple[str, ...] = (),
        last_event_id: str | None = None,
        silent: bool = False,
        at_once: int = AT_ONCE,
        within: float = 60.0,
    ) -> Connected:
        """Open ``count`` more streams; return when each has received its head.

        ``%d`` in the path becomes the client's group, which is its number modulo
        ``groups``. ``%d`` in a header becomes the client's number. A ``silent`` server
        sends no head before the first event; for such a server, return when all
        requests have been sent.
        """
        self._ask(f"to unix {unix}" if unix else f"to 127.0.0.1 {port}")
        self._ask("header")
        resume = () if last_event_id is None else (f"Last-Event-ID: {last_event_id}",)
        for line in (*headers, *resume):
            self._ask(f"header {line}")
        found = self._ask(
            f"connect {count} {at_once} {int(silent)} {groups} {within} {path}"
        )
        return Connected(found["seconds"], Spread.of(found["first_byte_us"]))

    def wait(
        self, events: int, *, group: int | None = None, within: float = 60.0
    ) -> None:
        """Wait until all clients, or those of a group, have this number of events.

        Events count from the last reset on.
        """
        self._ask(f"wait {events} {-1 if group is None else group} {within}")

    def report(self) -> Report:
        """Return a report of the events since the reset."""
        found = self._ask("report")
        if found["ended"]:
            raise CrowdError(f"{found['ended']} streams have ended")
        if found["untracked"]:
            raise CrowdError(
                f"{found['untracked']} events are beyond the limit of distinct stamps"
            )
        return Report(
            found["clients"],
            found["events"],
            found["bytes"],
            Spread.of(found["latency_us"]),
            [(count, last / 1000) for count, last in found["last"]],
        )

    def reset(self) -> None:
        """Reset the counters. Events that were stamped before now never count."""
        self._ask("reset")

    def close(self) -> None:
        """End all streams with a TCP reset."""
        self._ask("close")

    def _ask(self, line: str) -> dict[str, Any]:
        """Send a command; return the answer. The clients' own deadline limits it."""
        if self._process.stdin is None or self._process.stdout is None:
            raise CrowdError("there are no pipes to the clients")
        try:
            self._process.stdin.write(line + "\n")
            answer = self._process.stdout.readline()
        except (OSError, ValueError):
            # The pipe broke during the write, or was closed here.
            answer = ""
        if not answer:
            raise CrowdError(f"the clients' process has ended: {self._process.poll()}")
        found: dict[str, Any] = json.loads(answer)
        if "error" in found:
            raise CrowdError(found["error"])
        return found
