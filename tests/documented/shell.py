"""A shell that runs the commands in the documentation and compares their output."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from tests.documented.samples import ROOT
from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, wait_until

#: Parts of the output that differ in each run: delays, and ids of events and clients.
_CHANGES = re.compile(
    r"(?P<retry>(?<=retry: )\d+)"
    r"|(?P<epoch>[0-9a-f]{12})(?=-\d+)"
    r'|(?P<client>(?<="client_id":")[^"]*)'
)


class Step(NamedTuple):
    """A command, and its output in the documentation."""

    command: str
    output: str


def steps(block: str) -> list[Step]:
    """Return the steps of a block in ``console``, where commands follow a ``$``."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts[0] == ""
    # A command continues on the next line after a backslash.
    return [Step(*re.split(r"(?<!\\)\n", part, maxsplit=1)) for part in parts[1:]]


def commands(block: str) -> list[str]:
    """Return the commands of a block in ``sh``, with continued lines joined."""
    return block.replace("\\\n", " ").splitlines()


@contextmanager
def flask_run(
    folder: Path,
    app: str,
    *,
    port: int | None = None,
    ports: dict[int, int] | None = None,
    env: dict[str, str] | None = None,
) -> Iterator["Shell"]:
    """Run an app as app.py in Flask's own server; yield a shell for it.

    The shell replaces port 5000 in commands by the port of the app.
    """
    port = port or free_port()
    shell = Shell(
        folder,
        ports={5000: port} | (ports or {}),
        FLASK_RUN_PORT=str(port),
        **(env or {}),
    )
    (folder / "app.py").write_text(shell.translated(app))
    with shell.start("flask run") as server:
        server.wait_for(f" * Running on http://{HOST}:{port}\n")
        yield shell


class Shell:
    """A shell in a folder, which replaces the documented ports by those of the test."""

    def __init__(self, folder: Path, *, ports: dict[int, int], **env: str) -> None:
        self._folder = folder
        self._ports = ports
        #: Each epoch in the documentation, with the epoch in this run.
        self._epochs: dict[str, str] = {}
        (folder / ".curlrc").write_text("silent")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
        self._env |= {"CURL_HOME": str(folder)} | env

    def check(self, step: Step) -> None:
        """Run a command to its end, and compare its output with the documentation."""
        printed = self.run(step.command)
        self.learn(step.output, printed)

    def run(self, command: str) -> str:
        """Run a command to its end and return its output."""
        done = subprocess.run(
            ["bash", "-c", self.translated(command)],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, command: str) -> "Running":
        """Start a command that runs until it is stopped."""
        return Running(self.translated(command), self._folder, self._env)

    def learn(self, shown: str, printed: str) -> None:
        """Compare the documented output with the real one; remember its epochs.

        Parts that differ in each run are ignored.
        """
        assert _CHANGES.sub("?", printed.strip()) == _CHANGES.sub("?", shown.strip())
        for one, other in zip(
            _CHANGES.finditer(shown), _CHANGES.finditer(printed), strict=True
        ):
            if one["epoch"]:
                known = self._epochs.setdefault(one["epoch"], other["epoch"])
                assert known == other["epoch"]

    def translated(self, command: str) -> str:
        """Return a text in which documented ports and ids are replaced by real ones."""
        for shown, port in self._ports.items():
            command = command.replace(f":{shown}", f":{port}")
        for shown_epoch, epoch in self._epochs.items():
            command = command.replace(shown_epoch, epoch)
        return command


class Running:
    """A running command, and its output so far."""

    def __init__(self, command: str, folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.printed = ""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line

    def wait_for(self, text: str) -> None:
        """Wait until the command has printed a text."""
        wait_until(lambda: text in self.printed or self._ended(text))

    def _ended(self, text: str) -> bool:
        ended = self._process.poll() is not None and not self._thread.is_alive()
        assert not ended or text in self.printed, self.printed
        return False

    def wait_for_end(self) -> None:
        """Wait until the command ends by itself, with success."""
        assert self._process.wait(DEADLINE) == 0
        self._thread.join(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if self._process.poll() is None:
                self._process.terminate()
            self._process.wait(DEADLINE)
        finally:
            # Kill the processes that it has left: it was started as a group's leader.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join(DEADLINE)
        assert self._process.stdout is not None
        self._process.stdout.close()
