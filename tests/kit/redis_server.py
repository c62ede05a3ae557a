"""A real redis-server as a child process, on a port and folder of its own."""

import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import redis

from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, wait_until
from tests.wire.real_parts import absent


class RedisServer:
    """A Redis that writes each command to disk before it answers."""

    def __init__(self, *args: str, port: int | None = None) -> None:
        if shutil.which("redis-server") is None:
            absent("redis-server", remedy="apt-get install redis-server")
        self.port = port or free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        self._args = args
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Start Redis on its existing files, and wait until it answers."""
        self._process = subprocess.Popen(
            ["redis-server", *self._arguments()],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def _arguments(self) -> list[str]:
        listening = ["--bind", HOST, "--port", str(self.port), "--logfile", "log"]
        keeping = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        # A replica does not wait for other replicas before its first copy.
        copying = ["--repl-diskless-sync-delay", "0"]
        return [*listening, *keeping, *copying, *self._args]

    def stop(self) -> None:
        """Stop Redis as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill Redis without a warning."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze Redis: it keeps its connections and does not answer."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen Redis answer again."""
        self._signal(signal.SIGCONT)

    def connect(self) -> Any:
        """Return a Redis client; the caller closes it."""
        return redis.Redis(port=self.port, host=HOST, socket_timeout=DEADLINE)

    def run(self, *command: str | int) -> Any:
        """Run one command and return its answer."""
        with self.connect() as client:
            return client.execute_command(*command)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with suppress(redis.ConnectionError):
            return bool(self.run("PING"))
        return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(DEADLINE)


class SentinelServer(RedisServer):
    """A Sentinel that declares its master down quickly, asking no other Sentinel."""

    def __init__(self, service: str, master: RedisServer) -> None:
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"bind {HOST}\n"
            f"port {self.port}\n"
            "logfile log\n"
            f"sentinel monitor {service} {HOST} {master.port} 1\n"
            f"sentinel down-after-milliseconds {service} 500\n"
            f"sentinel failover-timeout {service} 5000\n"
        )

    def _arguments(self) -> list[str]:
        return ["sentinel.conf", "--sentinel"]
