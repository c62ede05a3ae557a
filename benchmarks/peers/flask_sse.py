"""Flask-SSE on gunicorn with gevent, and the Redis that it needs."""

import shutil
import subprocess
from pathlib import Path

from benchmarks.peers import venv
from benchmarks.peers.base import Peer
from tests.kit.ports import free_port


class FlaskSSE(Peer):
    """A generator and a connection to Redis for each client.

    Redis is one of its processes, so its CPU time is part of the cost.
    """

    name = "flask-sse"
    label = "Flask-SSE on gunicorn gevent + Redis"
    most_clients = 1000
    share = 0.1
    silent = True
    is_app_server = True

    @classmethod
    def absence(cls) -> str | None:
        """Return why Redis or the packages are missing, or None."""
        if shutil.which("redis-server") is None:
            return "redis-server is not installed"
        return venv.absence("flask_sse")

    @classmethod
    def version(cls) -> str:
        """Return the versions of the packages and of Redis."""
        packages = venv.versions("Flask-SSE", "Flask", "gunicorn", "gevent", "redis")
        said = subprocess.run(
            ["redis-server", "--version"], capture_output=True, text=True, check=True
        )
        return f"{packages}, Redis {said.stdout.partition('v=')[2].split()[0]}"

    def start(self) -> None:
        """Run one worker, and a Redis that stores nothing on disk."""
        redis_port = free_port()
        redis = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1"]
        redis += ["--save", "", "--appendonly", "no", "--maxclients", "4000"]
        self.run(redis)
        command: list[str | Path] = [
            venv.PYTHON,
            "-m",
            "gunicorn",
            "-k",
            "gevent",
            "-w",
            "1",
        ]
        command += ["-b", f"127.0.0.1:{self.port}", "--backlog", "4096"]
        command += ["--worker-connections", "20000", "--keep-alive", "75"]
        command += ["--timeout", "120", "--log-level", "error", "--no-control-socket"]
        command += ["with_flask_sse:app"]
        self.run(
            command,
            environ={
                "PYTHONPATH": str(venv.APPS),
                "FLASK_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            },
        )
