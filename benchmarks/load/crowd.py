"""Very many clients in a process of their own, led from here.

``crowd.c`` says what they are told and how they count. A stream that ends, a status
that is not 200 or a deadline that has passed is a CrowdError, never a figure.
"""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.load.build import build

_SOURCE = Path(__file__).with_name("crowd.c")

#: How many connections are being opened at any time; below any listener's backlog.
AT_ONCE = 100


class CrowdError(Exception):
    """Raised when the clients did not get what they should have got."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How many there were of something, and how long they took in milliseconds."""

    count: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, found: dict[str, int]) -> Self:
        """Return what the clients say in microseconds."""
        times = (found[key] / 1000 for key in ("p50", "p99", "max"))
        return cls(found["count"], *times)


@dataclass(frozen=True, slots=True)
class Connected:
    """How the streams were opened."""

    #: From the first connect to the last one's head.
    seconds: float
    #: From each one's connect to its first byte.
    first_byte: Spread


@dataclass(frozen=True, slots=True)
class Report:
    """What has arrived since the reset."""

    clients: int
    events: int
    bytes: int
    #: From the stamp of an event to each client that got it.
    latency: Spread
    #: For each stamp how many clients' events had it, and the milliseconds until the
    #: last one of these was there.
    last: list[tuple[int, float]]


def stamped(size: int) -> bytes:
    """Return data of so many bytes that says when it was made."""
    # Linux has one monotonic clock for all processes.
    return b"@%019d@" % time.monotonic_ns() + b"x" * (size - 21)


class Crowd:
    """The clients: opened, waited for and closed together, until it is left."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(build(_SOURCE))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            # Ctrl-C is for whoever leads them, who may still want an answer.
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
        """Return the process that the clients live in."""
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
        """Open so many streams more; return when each has its head.

        ``%d`` in the path becomes the client's group, which is its number modulo
        ``groups``, and in a header its number. A ``silent`` server sends no head before
        the first event: there it has to do that all have asked.
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
        """Wait until everybody, or a group, has got so many events since the reset."""
        self._ask(f"wait {events} {-1 if group is None else group} {within}")

    def report(self) -> Report:
        """Return what has arrived since the reset."""
        found = self._ask("report")
        if found["ended"]:
            raise CrowdError(f"{found['ended']} streams have ended")
        if found["untracked"]:
            raise CrowdError(f"{found['untracked']} events have stamps too many")
        return Report(
            found["clients"],
            found["events"],
            found["bytes"],
            Spread.of(found["latency_us"]),
            [(count, last / 1000) for count, last in found["last"]],
        )

    def reset(self) -> None:
        """Forget what has arrived; what was stamped until now never counts."""
        self._ask("reset")

    def close(self) -> None:
        """End all streams, by a reset."""
        self._ask("close")

    def _ask(self, line: str) -> dict[str, Any]:
        """Send a command. Its deadline is the clients' own, so that this one ends."""
        if self._process.stdin is None or self._process.stdout is None:
            raise CrowdError("there are no pipes to the clients")
        try:
            self._process.stdin.write(line + "\n")
            answer = self._process.stdout.readline()
        except (OSError, ValueError):
            # Broken while it was written to, or closed here.
            answer = ""
        if not answer:
            raise CrowdError(f"the clients' process has ended: {self._process.poll()}")
        found: dict[str, Any] = json.loads(answer)
        if "error" in found:
            raise CrowdError(found["error"])
        return found
