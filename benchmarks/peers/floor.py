"""The floor: the least that a server can do, in C."""

import shutil
from pathlib import Path

from benchmarks.load.build import build
from benchmarks.peers.base import Peer

_SOURCE = Path(__file__).with_name("floor.c")


class Floor(Peer):
    """A loop of ``write()`` for each event, without ids, history or queues."""

    name = "floor"
    label = "floor: a loop of write() in C"

    @classmethod
    def absence(cls) -> str | None:
        """Return why the C compiler is missing, or None. The clients need it too."""
        return None if shutil.which("cc") else "there is no C compiler"

    @classmethod
    def version(cls) -> str:
        """Return the path of its source, since it has no version."""
        return "benchmarks/peers/floor.c"

    def start(self) -> None:
        """Build the program and run it."""
        self.run([build(_SOURCE), str(self.port)])
