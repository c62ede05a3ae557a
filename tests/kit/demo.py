"""The example app under gunicorn, as `make run` starts it."""

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, wait_until

ROOT = Path(__file__).parents[2]


class Demo:
    """The running example app."""

    def __init__(self, folder: Path, *, workers: int = 2, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log_path = folder / "log"
        settings.setdefault("sse_hub_broker_url", f"sqlite:///{folder}/sse_hub.db")
        settings.setdefault("sqlalchemy_database_uri", f"sqlite:///{folder}/example.db")
        self.broker_url = settings["sse_hub_broker_url"]
        self._environ = (
            os.environ
            | {"PORT": str(self.port), "WEB_CONCURRENCY": str(workers)}
            | {"FLASK_DEMO": "true"}
            | {f"FLASK_{key.upper()}": value for key, value in settings.items()}
        )
        self.start()

    def start(self) -> None:
        """Start the server, again after close() on the same port and files."""
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn"],
                cwd=ROOT,
                env=self._environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(self.answers, within=30.0)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log_path.read_text()
        try:
            return self.request("GET", "/health")[0] == 200
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=DEADLINE)
        try:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def cookie(self, user: str) -> str:
        """Log in and return the session cookie."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=DEADLINE)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/login", f"name={user}&password=demo", headers)
            return connection.getresponse().headers["Set-Cookie"].split(";")[0]
        finally:
            connection.close()

    def lose_history(self) -> None:
        """Delete the broker's log while the workers run."""
        for each in self.log_path.parent.glob("sse_hub.db*"):
            if each.is_file():
                each.unlink()

    def kill_workers(self) -> None:
        """Kill the workers, as the kernel does when memory is short."""
        for worker in psutil.Process(self.process.pid).children():
            worker.kill()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15.0)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5.0)
