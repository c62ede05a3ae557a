"""Facts about this process: memory, CPU time, descriptors, age.

Linux tells all of them. Elsewhere a fact that is unknown is None.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..server.places import open_files

# The moment at which this module was imported, in seconds since 1970. A worker that was
# forked from a master with a preloaded app is younger.
_IMPORTED_AT = time.time()


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process at one moment."""

    pid: int
    #: The moment at which the process began, in seconds since 1970.
    started_at: float
    cpu_seconds: float
    resident_bytes: int | None
    open_files: int | None
    max_files: int | None

    @classmethod
    def now(cls) -> Self:
        """Return the facts about the calling process."""
        used = os.times()
        return cls(
            pid=os.getpid(),
            started_at=_started_at(),
            cpu_seconds=used.user + used.system,
            resident_bytes=_resident_bytes(),
            open_files=_open_files(),
            max_files=open_files(),
        )


def _started_at() -> float:
    with suppress(OSError, ValueError, IndexError):
        # The name of the program, in brackets, may have blanks.
        told = Path("/proc/self/stat").read_text().rpartition(")")[2]
        ticks = int(told.split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return time.time() - age
    return _IMPORTED_AT


def _resident_bytes() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return None


def _open_files() -> int | None:
    with suppress(OSError):
        # One of them is the descriptor that lists the others.
        return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - a Path each
    return None
