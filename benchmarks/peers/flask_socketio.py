"""Flask-SocketIO on gunicorn with gevent, whose clients use WebSockets."""

from pathlib import Path

from benchmarks.peers import venv
from benchmarks.peers.base import Peer


class FlaskSocketIO(Peer):
    """A WebSocket for each client, by simple-websocket, as its documentation says.

    It has one process and no message queue.
    """

    name = "flask-socketio"
    label = "Flask-SocketIO on gunicorn gevent, WebSocket"
    path = "/socket.io/?EIO=4&transport=websocket"
    most_clients = 5000
    share = 0.2
    is_app_server = True

    @classmethod
    def absence(cls) -> str | None:
        """Return why the packages are missing, or None."""
        return venv.absence("flask_socketio, simple_websocket")

    @classmethod
    def version(cls) -> str:
        """Return the versions of the packages."""
        return venv.versions(
            "Flask-SocketIO", "simple-websocket", "Flask", "gunicorn", "gevent"
        )

    def start(self) -> None:
        """Run one worker."""
        command: list[str | Path] = [venv.PYTHON, "-m", "gunicorn", "-k", "gevent"]
        command += ["-w", "1", "-b", f"127.0.0.1:{self.port}", "--backlog", "4096"]
        command += ["--worker-connections", "20000", "--keep-alive", "75"]
        command += ["--timeout", "120", "--log-level", "error", "--no-control-socket"]
        command += ["with_flask_socketio:app"]
        self.run(command, environ={"PYTHONPATH": str(venv.APPS)})
