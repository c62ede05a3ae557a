"""sse-starlette on uvicorn with uvloop."""

from pathlib import Path

from benchmarks.peers import venv
from benchmarks.peers.base import Peer


class SSEStarlette(Peer):
    """An asyncio queue for each client, as in the documentation of sse-starlette."""

    name = "sse-starlette"
    label = "sse-starlette on uvicorn + uvloop"
    most_clients = 5000
    share = 0.2
    is_app_server = True

    @classmethod
    def absence(cls) -> str | None:
        """Return why the packages are missing, or None."""
        return venv.absence("sse_starlette")

    @classmethod
    def version(cls) -> str:
        """Return the versions of the packages."""
        return venv.versions("sse-starlette", "starlette", "uvicorn", "uvloop")

    def start(self) -> None:
        """Run one process."""
        command: list[str | Path] = [
            venv.PYTHON,
            "-m",
            "uvicorn",
            "--host",
            "127.0.0.1",
        ]
        command += ["--port", str(self.port), "--loop", "uvloop", "--http", "httptools"]
        command += ["--backlog", "4096", "--timeout-keep-alive", "75"]
        command += ["--no-access-log", "--log-level", "error"]
        command += ["with_sse_starlette:app"]
        self.run(command, environ={"PYTHONPATH": str(venv.APPS)})
