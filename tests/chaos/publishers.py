"""Several publishers, as processes of their own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Any, Self

from tests.chaos.checker import Published
from tests.live.server import ROOT

# A stopped publisher may still be in a call, which has a timeout.
_END_SECONDS = 20.0


class Publishers:
    """Publishing processes, whose calls and results are kept."""

    def __init__(
        self, port: int, names: Sequence[str], ids: Sequence[str], *, to_all: bool
    ) -> None:
        reach = "all" if to_all else "some"
        command = [sys.executable, "-m", f"{__package__}.publisher", str(port)]
        self._outputs: list[IO[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        for name in names:
            output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
            self._outputs.append(output)
            self._processes.append(
                subprocess.Popen(
                    [*command, name, reach, *ids],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=output,
                )
            )

    def stop(self) -> None:
        """Let each process end after its current call."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()

    def ended(self) -> bool:
        """Return whether all processes have ended."""
        return all(process.poll() is not None for process in self._processes)

    def calls(self) -> list[Published]:
        """Return the calls of all processes, after they have ended."""
        codes = [process.returncode for process in self._processes]
        assert not any(codes), f"publishers ended with {codes}"
        found: list[Published] = []
        for output in self._outputs:
            output.seek(0)
            found += (Published(*json.loads(line)) for line in output)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.stop()
        for process in self._processes:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for output in self._outputs:
            output.close()
