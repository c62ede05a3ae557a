"""The processes of a benchmark: servers of the apps, and other modules of this folder.

Every process that is started here ends with its ``with`` block, and listens on this
machine only.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil

from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until

PAYLOAD = b"x" * 100

_ROOT = Path(__file__).parents[1]


class Server:
    """gunicorn with gevent workers that serve one of the apps, within a ``with`` block.

    ``settings`` are the hub's settings, by the names of their keys.
    """

    def __init__(
        self, app: str, *, workers: int = 1, settings: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.workers: list[psutil.Process] = []
        self._app = app
        self._count = workers
        self._settings = settings or {}
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "gunicorn", "-k", "gevent"]
        command += ["-b", f"{HOST}:{self.port}", "-w", str(self._count)]
        command += ["--worker-connections", "2000", "--backlog", "2048"]
        command += ["--log-level", "error", f"benchmarks.apps:{self._app}()"]
        self.process = subprocess.Popen(
            command, cwd=self._folder.name, env=_environ(self._settings)
        )
        try:
            wait_until(self._answers, within=30.0)
            wait_until(self._has_workers, within=30.0)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            self.post("/publish/0")
        except OSError:
            return False
        return True

    def _has_workers(self) -> bool:
        self.workers = psutil.Process(self.process.pid).children()
        return len(self.workers) == self._count

    def post(self, path: str) -> None:
        """Request a publish and wait for the answer."""
        self.ask("POST", path, PAYLOAD)()

    def get(self, path: str) -> bytes:
        """Return a page."""
        return self.ask("GET", path)()

    def ask(
        self, method: str, path: str, body: bytes | None = None
    ) -> Callable[[], bytes]:
        """Send a request on a new connection; return a function to read the answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30.0)
        connection.request(method, path, body)

        def answer() -> bytes:
            try:
                response = connection.getresponse()
                found = response.read()
            finally:
                connection.close()
            if response.status != 200:
                raise RuntimeError(f"{path}: {response.status} {found[:200]!r}")
            return found

        return answer

    def stats(self) -> dict[str, Any]:
        """Return the statistics of the worker that answers."""
        found: dict[str, Any] = json.loads(self.get("/events/stats"))
        return found

    def cpu(self) -> float:
        """Return the CPU seconds that the workers have used so far."""
        times = [worker.cpu_times() for worker in self.workers]
        return float(sum(each.user + each.system for each in times))

    def stop(self) -> float:
        """Stop the server; return the seconds that this took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40.0)
        finally:
            self.process.kill()
            self._folder.cleanup()
        return time.monotonic() - started


@contextmanager
def running(
    module: str, *args: str | int, settings: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a module of this folder in parallel; its first line says that it is ready."""
    with subprocess.Popen(
        _command(module, *args), stdout=subprocess.PIPE, env=_environ(settings or {})
    ) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError(f"benchmarks.{module} ended before it was ready")
            yield
        finally:
            process.kill()


def answer(
    module: str, *args: str | int, settings: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return the figures that a module of this folder prints."""
    printed = subprocess.run(
        _command(module, *args),
        stdout=subprocess.PIPE,
        env=_environ(settings or {}),
        timeout=120.0,
        check=True,
    )
    figures: dict[str, float] = json.loads(printed.stdout)
    return figures


def _command(module: str, *args: str | int) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, args)]


def _environ(settings: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the hub's settings for the apps."""
    given = {f"FLASK_SSE_HUB_{key.upper()}": value for key, value in settings.items()}
    return os.environ | {"PYTHONPATH": str(_ROOT)} | given
