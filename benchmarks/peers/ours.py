"""The hub itself: one gunicorn worker with gevent, on the default broker."""

import json
import sys
from importlib.metadata import version
from typing import ClassVar

from benchmarks.peers.base import ROOT, Peer


class BySocket(Peer):
    """Streams over sockets that are taken over from the server, if possible."""

    name = "socket"
    label = "flask_sse_hub, by socket"
    channel_path = "/events?channel=c%d"
    is_app_server = True

    #: The name of its app in benchmarks.apps.
    app: ClassVar[str] = "hub"
    #: The hub's settings, by the names of their keys.
    settings: ClassVar[dict[str, str]] = {}

    @classmethod
    def absence(cls) -> str | None:
        """Return None, since the hub is always installed."""
        return None

    @classmethod
    def version(cls) -> str:
        """Return the versions of the packages that take part in a stream."""
        names = ("flask-sse-hub", "flask", "gunicorn", "gevent")
        return ", ".join(f"{name} {version(name)}" for name in names)

    def start(self) -> None:
        """Run gunicorn with room for any number of streams."""
        command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1"]
        command += ["-b", f"127.0.0.1:{self.port}", "--backlog", "4096"]
        # Each stream of a generator takes one of these.
        command += ["--worker-connections", "20000"]
        # The connection that publishes stays open between two publishes.
        command += ["--keep-alive", "75", "--timeout", "120", "--log-level", "error"]
        command += ["--no-control-socket", f"benchmarks.apps:{self.app}()"]
        settings = {
            "broker_url": f"sqlite:///{self.folder}/hub.db",
            "max_clients": "20000",
        } | self.settings
        environ = {f"FLASK_SSE_HUB_{k.upper()}": v for k, v in settings.items()}
        self.run(command, environ={"PYTHONPATH": str(ROOT)} | environ)

    def served(self) -> str:
        """Return the number of streams per kind of delivery, from the statistics."""
        stats = json.loads(self.request("GET", "/events/stats"))
        ways = stats.get("delivery", {"generator": stats["connections"]})
        return ", ".join(f"{count} by {way}" for way, count in ways.items() if count)


class Uncompressed(BySocket):
    """Streams whose clients request a content coding, for events of any size.

    The clients claim to be browsers, which receive no chunked encoding. Every byte then
    belongs to the stream.
    """

    name = "identity"
    label = "flask_sse_hub, not compressed"
    settings: ClassVar[dict[str, str]] = {"compress_min_bytes": "1"}

    #: The content coding that the clients request.
    coding: ClassVar[str] = "identity"

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers that the clients send."""
        return (f"Accept-Encoding: {self.coding}", "User-Agent: Mozilla/5.0")


class Gzip(Uncompressed):
    """Compression by gzip of the standard library."""

    name = "gzip"
    label = "flask_sse_hub, gzip"
    coding = "gzip"


class Zstd(Uncompressed):
    """Compression by zstd, from the backport of newer standard libraries."""

    name = "zstd"
    label = "flask_sse_hub, zstd"
    coding = "zstd"


class ByGenerator(BySocket):
    """Streams by generator, which every WSGI server can run."""

    name = "generator"
    label = "flask_sse_hub, by generator"
    settings: ClassVar[dict[str, str]] = {"socket_takeover": "false"}
    # Each stream is a greenlet: opening 15,000 takes half a minute, and shows no more.
    most_clients = 10_000


class Unyielding(BySocket):
    """A fan-out that never yields, to show the cost of yielding."""

    name = "unyielding"
    label = "flask_sse_hub, never yielding"
    app = "unyielding"


class SocketLoggedIn(BySocket):
    """Streams over sockets, where each client is logged in as a separate user."""

    name = "socket-users"
    label = "flask_sse_hub, by socket, logged in"
    app = "users"


class GeneratorLoggedIn(ByGenerator):
    """Streams by generator, where each client is logged in as a separate user."""

    name = "generator-users"
    label = "flask_sse_hub, by generator, logged in"
    app = "users"
