"""Real servers as processes of the test, and a real client for their streams."""

import atexit
import http.client
import json
import logging
import os
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import psutil

from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, StreamReader, wait_until
from tests.live import apache
from tests.live.packages import packages

log = logging.getLogger(__name__)

SITE = "tests.live.site"
ROOT = Path(__file__).parents[2]

_PYWSGI = """
from gevent import monkey; monkey.patch_all()
import sys
from gevent.pywsgi import WSGIServer
from importlib import import_module
app = import_module(sys.argv[2]).create_app()
WSGIServer(("127.0.0.1", int(sys.argv[1])), app, log=None).serve_forever()
"""

_POOL = _PYWSGI.replace("log=None", "log=None, spawn=4")

# A mistake: gevent's server without the patches that make threads greenlets.
_UNPATCHED = _PYWSGI.replace("from gevent import monkey; monkey.patch_all()", "")

_WSGIREF = """
import sys
from importlib import import_module
from wsgiref.simple_server import make_server
app = import_module(sys.argv[2]).create_app()
make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
"""

_BJOERN = """
import sys
from importlib import import_module
import bjoern
app = import_module(sys.argv[2]).create_app()
bjoern.run(app, "127.0.0.1", int(sys.argv[1]))
"""

# Without the executor, which its documentation recommends, it has one thread.
_TORNADO = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from tornado.httpserver import HTTPServer
from tornado.wsgi import WSGIContainer

async def main():
    app = import_module(sys.argv[2]).create_app()
    server = HTTPServer(WSGIContainer(app, ThreadPoolExecutor(20)))
    server.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()

asyncio.run(main())
"""

# systemd opens the socket, and hands it to the program that it starts.
_SYSTEMD = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
script = os.path.join(os.path.dirname(sys.executable), "gunicorn")
words = [script, "-k", "gevent", f"{sys.argv[2]}:create_app()"]
os.execv(sys.executable, [sys.executable, *words, *sys.argv[3:]])
"""

#: The command that starts each kind of server, with its port and its site.
COMMANDS = {
    "gunicorn-gevent": "gunicorn -k gevent -b {address} {app}",
    "gunicorn-gevent-generator": "gunicorn -k gevent -b {address} {app}",
    "gunicorn-systemd": "systemd {port} {site}",
    "gunicorn-gthread": "gunicorn -k gthread --threads 20 -b {address} {app}",
    "gunicorn-sync": "gunicorn -k sync -b {address} {app}",
    "pywsgi": "pywsgi {port} {site}",
    "pywsgi-pool": "pool {port} {site}",
    "pywsgi-unpatched": "unpatched {port} {site}",
    "flask-run": "flask --app {app} run --port {port}",
    "waitress": "waitress --listen {address} --call {site}:create_app",
    "cheroot": "cheroot --bind {address} {wsgi}",
    "uwsgi": "uwsgi --http-socket {address} --module {app} --need-app --die-on-term",
    "wsgiref": "wsgiref {port} {site}",
    "bjoern": "bjoern {port} {site}",
    "tornado": "tornado {port} {site}",
    "uvicorn": "uvicorn --interface wsgi --port {port} {wsgi}",
    "hypercorn": "hypercorn --bind {address} wsgi:{wsgi}",
    "gunicorn-eventlet": "gunicorn -k eventlet -b {address} {app}",
    "mod_wsgi": "apache2 -D FOREGROUND -f {folder}/httpd.conf",
}

# Sources for Python's -c, scripts of its environment, and programs of the system. All
# else are modules. gunicorn is the script, since a module cannot start itself again at
# USR2: its own http package would hide Python's.
_SOURCES = {
    "pywsgi": _PYWSGI,
    "pool": _POOL,
    "unpatched": _UNPATCHED,
    "wsgiref": _WSGIREF,
    "bjoern": _BJOERN,
    "tornado": _TORNADO,
    "systemd": _SYSTEMD,
}
_SCRIPTS = ("gunicorn", "uwsgi")
_SYSTEM = ("apache2",)

# Servers whose packages are in a folder of their own.
_PACKAGES = {"gunicorn-eventlet": "eventlet", "bjoern": "bjoern"}

# Scripts of packages in a folder of their own that start a program and trace it.
_TRACERS = {"ddtrace": "ddtrace-run", "newrelic": "newrelic-admin run-program"}

#: Kinds of servers that can hold streams.
SERVERS = [
    "gunicorn-gevent",
    "gunicorn-gevent-generator",
    "gunicorn-gthread",
    "pywsgi",
    "flask-run",
]

#: Other servers that can hold streams, each with room for twenty requests at once.
OTHERS = {
    "waitress": ("waitress", "--threads=20"),
    "cheroot": ("cheroot", "--threads 20"),
    "uwsgi-threads": ("uwsgi", "--threads 20"),
    "uwsgi-gevent": ("uwsgi", "--gevent 20 --gevent-monkey-patch"),
    "mod_wsgi": ("mod_wsgi", "threads=20"),
}

#: The same server with each delivery: by the client's own socket, and by generator.
DELIVERIES = ["gunicorn-gevent", "gunicorn-gevent-generator"]

#: Users who can log in.
USERS = ["alice", "bob", "admin"]

#: The broker URL of a log in a file of the server's folder.
SQLITE = "sqlite:///{folder}/hub.db"


class Server:
    """A server for a site on a port of its own, as long as its block lasts."""

    def __init__(
        self,
        kind: str = "gunicorn-gevent",
        *,
        site: str = SITE,
        args: str = "",
        answers_http1: bool = True,
        tracer: str | None = None,
        middleware: str | None = None,
        **settings: Any,
    ) -> None:
        self._answers_http1 = answers_http1
        self._test = os.environ.get("PYTEST_CURRENT_TEST")
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory()
        address = f"{HOST}:{self.port}"
        command = COMMANDS[kind].format(
            port=self.port,
            address=address,
            site=site,
            app=f"{site}:create_app()",
            wsgi="tests.live.wsgi:application",
            folder=self.folder,
        )
        words = command.split()
        if kind == "waitress":
            # Its options have to come before the app.
            words[1:1] = args.split()
        elif kind != "mod_wsgi":
            words += args.split()
        if kind == "gunicorn-gevent-generator":
            settings = {"socket_takeover": False} | settings
        if words[0] in _SOURCES:
            words[:1] = [sys.executable, "-c", _SOURCES[words[0]]]
        elif words[0] in _SCRIPTS:
            words[:1] = [str(Path(sys.executable).with_name(words[0]))]
        elif words[0] not in _SYSTEM:
            words[:1] = [sys.executable, "-m", words[0]]
        paths = [ROOT]
        if kind in _PACKAGES:
            paths.insert(0, packages(_PACKAGES[kind]))
        if tracer is not None:
            paths.insert(0, packages(tracer))
            script, *rest = _TRACERS[tracer].split()
            words[:0] = [sys.executable, str(paths[0] / "bin" / script), *rest]
        self.log_path = Path(self._folder.name, "log")
        self._words = words
        self._site = site
        database = Path(self._folder.name, "users.db")
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("CREATE TABLE user (id VARCHAR PRIMARY KEY)")
            connection.execute("CREATE TABLE closed_channel (name VARCHAR PRIMARY KEY)")
            connection.executemany(
                "INSERT INTO user VALUES (?)", [[name] for name in USERS]
            )
        self._environ = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "LIVE_DATABASE": str(database),
            **({"LIVE_MIDDLEWARE": middleware} if middleware else {}),
            **{
                f"SSE_HUB_{key.upper()}": json.dumps(value)
                .replace("{folder}", self._folder.name)
                .replace("{port}", str(self.port))
                for key, value in ({"broker_url": SQLITE} | settings).items()
            },
        }
        if kind == "mod_wsgi":
            apache.prepare(self.folder, port=self.port, args=args)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._clean_up()
            raise
        return self

    def _start(self) -> None:
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                self._words,
                # In the project's folder gunicorn would read gunicorn.conf.py.
                cwd=self._folder.name,
                env=self._environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, within=30.0)
        except BaseException:
            self._tell_to_stop()
            self._wait_for_end()
            raise

    def _tell_to_stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()

    def _wait_for_end(self) -> None:
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired as error:
            error.add_note(f"started by {self._test}:\n{self.log}")
            raise
        finally:
            _end_group(self.process.pid)

    def kill(self) -> None:
        """End all processes of the server without a warning.

        restart() brings the server back.
        """
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)

    def restart(self) -> None:
        """Stop the server and start it again, on the same port and files."""
        self._tell_to_stop()
        self._wait_for_end()
        self._start()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            if self._answers_http1:
                return self.get("/events/health/live")[0] == 200
            socket.create_connection((HOST, self.port)).close()
        except OSError:
            return False
        return True

    def __exit__(self, *exc: object) -> None:
        """Tell the server to stop, without waiting until it has.

        gunicorn looks for the end once a second. The next test does not need to wait
        for that; wait_for_stopped() checks later that the server ended.
        """
        self._tell_to_stop()
        _stopping.append(self)
        wait_for_stopped(but=_MOST_STOPPING)

    def _clean_up(self) -> None:
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """The folder with the files of the server."""
        return Path(self._folder.name)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def flask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the site's own, as its developer does."""
        command = [sys.executable, "-m", "flask", "--app", f"{self._site}:create_app()"]
        return subprocess.run(
            [*command, *words],
            check=False,
            capture_output=True,
            cwd=self.folder,
            env=self._environ,
            text=True,
        )

    def shell(self) -> str:
        """Return the lines by which a shell becomes that of the server's user."""
        script = Path(sys.executable).with_name("flask")
        given = {
            "FLASK_APP": f"{self._site}:create_app()",
            "PATH": f"{script.parent}:{os.environ['PATH']}",
        }
        lines = [
            f"export {name}={shlex.quote(value)}"
            for name, value in (self._environ | given).items()
            if os.environ.get(name) != value
        ]
        return "\n".join([f"cd {self.folder}", *lines, ""])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def worker(self) -> int:
        """Return the process id of a worker."""
        return int(self.json("/process")["pid"])

    def workers(self) -> list[int]:
        """Return the process ids of all workers."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Let one worker accept all connections of this block.

        The kernel would choose a worker otherwise, so the others are stopped meanwhile.
        """
        with asleep(*(pid for pid in self.workers() if pid != worker)):
            yield

    def request(
        self, method: str, path: str, *, body: Any = None, **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        answer = request(self.port, method, path, body=body, **headers)
        if answer[0] == 500:
            # The captured log of a failed test shows what has happened.
            log.error("the server answered 500:\n%s", self.log[-4_000:])
        return answer

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        return self.request("GET", path, **headers)[:2]

    def json(self, path: str, **headers: str) -> dict[str, Any]:
        status, body = self.get(path, **headers)
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def stats(self) -> dict[str, Any]:
        return self.json("/events/stats")

    def connections(self) -> int:
        """Return the number of streams on all workers."""
        found: int = self.stats()["connections"]
        return found

    def publish(self, data: Any, **target: Any) -> str:
        status, body, _ = self.request(
            "POST", "/publish", body={"data": data, **target}
        )
        assert status == 200, body
        return body.decode()

    def cookie(self, user: str, how: str = "") -> str:
        """Log in and return the cookie of the session."""
        _, _, headers = self.request("POST", f"/login/{user}?{how}")
        return headers["Set-Cookie"].split(";")[0]

    def stream(
        self, path: str = "/events", *, user: str | None = "alice", **headers: str
    ) -> StreamReader:
        """Open a stream as a user, or with the given headers alone."""
        if user is not None:
            headers["Authorization"] = f"Bearer {user}"
        return _reader(Connection(self.port, path, **headers))

    def open(
        self, path: str, *, query: dict[str, str], **headers: str
    ) -> StreamReader | int:
        """Ask for a stream with no login but in these headers or the query.

        Returns the stream, or the status of its refusal.
        """
        try:
            connection = Connection(self.port, f"{path}?{urlencode(query)}", **headers)
        except Refused as refusal:
            return refusal.status
        return _reader(connection)


#: Servers that were told to stop, and that nobody has waited for. The oldest is first.
_stopping: list[Server] = []

# More would compete with the test that runs. A server ends before the next four start.
_MOST_STOPPING = 4


def wait_for_stopped(*, but: int = 0) -> None:
    """Wait until servers have ended that were told to stop.

    ``but`` is the number of servers that may go on stopping. Raises
    subprocess.TimeoutExpired for a server that does not end by itself.
    """
    while len(_stopping) > but:
        server = _stopping.pop(0)
        try:
            server._wait_for_end()
        finally:
            server._clean_up()


# Programs that run without pytest, such as the benchmarks, leave nothing behind either.
atexit.register(wait_for_stopped)


class Refused(Exception):
    """Raised when a request for a stream was answered with a status other than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status


class Connection(Iterator[bytes]):
    """One GET request over a socket that the test can drop or leave unread."""

    def __init__(self, port: int, path: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection(HOST, port)
        self._connection.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        # http.client forgets the socket if the response ends with the connection.
        self._socket = self._connection.sock
        self.response = self._connection.getresponse()
        if self.response.status != 200:
            refusal = Refused(self.response.status, self.response.read())
            self.close()
            raise refusal

    def __next__(self) -> bytes:
        try:
            chunk = self.response.read1(65536)
        except (OSError, ValueError, http.client.HTTPException):
            chunk = b""
        if not chunk:
            self.response.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Drop the connection, even while another thread reads from it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _reader(connection: Connection) -> StreamReader:
    coding = connection.response.headers.get("Content-Encoding")
    return StreamReader(connection, coding=coding)


def request(
    port: int, method: str, path: str, *, body: Any = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Make one request over a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=DEADLINE)
    try:
        headers = {name.replace("_", "-"): v for name, v in headers.items()}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def raw_request(port: int, path: str = "/events", user: str = "alice") -> socket.socket:
    """Ask for a stream, and return the socket with the answer unread."""
    sock = socket.create_connection((HOST, port))
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {user}\r\n\r\n".encode()
    )
    return sock


@contextmanager
def asleep(*pids: int) -> Iterator[None]:
    """Stop processes during this block, as when a machine sleeps."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        # Each thread stops at a moment of its own, and may accept a request before it.
        wait_until(lambda: all(map(_is_stopped, pids)))
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    states = [
        stat.read_text().rpartition(")")[2].split()[0]
        for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return set(states) <= {"T", "t", "Z"}


def gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _end_group(pid: int) -> None:
    """Kill all processes that are left of a server, which leads their group."""
    for _ in range(50):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.02)
