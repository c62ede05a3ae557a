"""The hub itself, one worker of gunicorn with gevent on the default broker."""

import json
import sys
from importlib.metadata import version
from typing import ClassVar

from benchmarks.peers.base import ROOT, Peer


class BySocket(Peer):
    """Streams over sockets that are taken over from the server, where that is done."""

    name = "socket"
    label = "flask_sse_hub, by socket"
    channel_path = "/events?channel=c%d"
    is_app_server = True

    #: What benchmarks.apps offers.
    app: ClassVar[str] = "hub"
    #: Of the hub, by the names of their keys.
    settings: ClassVar[dict[str, str]] = {}

    @classmethod
    def absence(cls) -> str | None:
        """It is always there."""
        return None

    @classmethod
    def version(cls) -> str:
        """Return the versions of those that take part in a stream."""
        names = ("flask-sse-hub", "flask", "gunicorn", "gevent")
        return ", ".join(f"{name} {version(name)}" for name in names)

    def start(self) -> None:
        """Run gunicorn with room for any number of streams."""
        command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1"]
        command += ["-b", f"127.0.0.1:{self.port}", "--backlog", "4096"]
        # Each stream of a generator takes one of these.
        command += ["--worker-connections", "20000"]
        # Between publishes the connection for these is kept.
        command += ["--keep-alive", "75", "--timeout", "120", "--log-level", "error"]
        command += ["--no-control-socket", f"benchmarks.apps:{self.app}()"]
        settings = {
            "broker_url": f"sqlite:///{self.folder}/hub.db",
            "max_clients": "20000",
        } | self.settings
        environ = {f"FLASK_SSE_HUB_{k.upper()}": v for k, v in settings.items()}
        self.run(command, environ={"PYTHONPATH": str(ROOT)} | environ)

    def served(self) -> str:
        """Return how many streams go which way, as the worker's statistics say."""
        stats = json.loads(self.request("GET", "/events/stats"))
        ways = stats.get("delivery", {"generator": stats["connections"]})
        return ", ".join(f"{count} by {way}" for way, count in ways.items() if count)


class Uncompressed(BySocket):
    """Streams whose clients ask for a content coding, of events of any size.

    Browsers, which get no chunks: each byte is the stream's.
    """

    name = "identity"
    label = "flask_sse_hub, not compressed"
    settings: ClassVar[dict[str, str]] = {"compress_min_bytes": "1"}

    #: What the clients ask for.
    coding: ClassVar[str] = "identity"

    @property
    def headers(self) -> tuple[str, ...]:
        """What the clients send."""
        return (f"Accept-Encoding: {self.coding}", "User-Agent: Mozilla/5.0")


class Gzip(Uncompressed):
    """By the standard library."""

    name = "gzip"
    label = "flask_sse_hub, gzip"
    coding = "gzip"


class Zstd(Uncompressed):
    """By the backport of what newer Pythons have."""

    name = "zstd"
    label = "flask_sse_hub, zstd"
    coding = "zstd"


class ByGenerator(BySocket):
    """Streams as any WSGI server runs them."""

    name = "generator"
    label = "flask_sse_hub, by generator"
    settings: ClassVar[dict[str, str]] = {"hijack": "false"}
    # Each one is a greenlet: 15,000 take half a minute to open, for no news.
    most_clients = 10_000


class Unyielding(BySocket):
    """A fan-out that never lets anybody else have a turn: what turns cost is seen."""

    name = "unyielding"
    label = "flask_sse_hub, never yielding"
    app = "unyielding"


class SocketLoggedIn(BySocket):
    """Each client is logged in, as a user of its own."""

    name = "socket-users"
    label = "flask_sse_hub, by socket, logged in"
    app = "users"


class GeneratorLoggedIn(ByGenerator):
    """The same by generator."""

    name = "generator-users"
    label = "flask_sse_hub, by generator, logged in"
    app = "users"
