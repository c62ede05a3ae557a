"""Another worker of a census, as a child process of the test."""

import subprocess
import sys
from pathlib import Path
from typing import Self

_MEMBER = """
import sys
from pathlib import Path
from flask_sse_hub.server.census import Census
census = Census(int(sys.argv[2]), directory=Path(sys.argv[1]))
while not census.joined:
    try:
        census.join()
    except BlockingIOError:
        pass
census.tell(int(sys.argv[3]))
print("joined", flush=True)
sys.stdin.read()
"""


class Colleague:
    """A worker that reports ``clients`` clients, and stays until its block ends."""

    def __init__(self, directory: Path, listener: int, clients: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MEMBER, *map(str, (directory, listener, clients))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid

    def has_joined(self) -> bool:
        """Wait for the worker's report; return whether it has joined the census."""
        assert self._process.stdout is not None
        return self._process.stdout.readline() == b"joined\n"

    def end(self) -> None:
        """Kill the worker, so that it cannot leave the census itself."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        assert self.has_joined()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
