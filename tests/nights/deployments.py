"""The ten broken deployments, each made of real servers, proxies and brokers.

Nothing is simulated but the faults of a worker's process: its key, its clock, its limit
of files, and its standing still.
"""

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.ports import HOST
from tests.kit.redis_server import RedisServer
from tests.live.crowd import crowd
from tests.live.proxies import IDLE_LIMIT, Proxy
from tests.live.server import Server
from tests.nights.few_files import FILES

#: An old nginx, or one that an image configures: it collects the answer.
BUFFERING = {
    "proxy_http_version 1.1;": "proxy_http_version 1.0;"
    " proxy_ignore_headers X-Accel-Buffering;",
}

#: A gateway that unpacks what passes, and packs it again.
COMPRESSING = {
    "server_tokens off;": "server_tokens off; gzip on; gzip_min_length 0;"
    " gzip_proxied any; gzip_types text/event-stream;"
    " proxy_ignore_headers X-Accel-Buffering;",
    'proxy_set_header Connection "";': 'proxy_set_header Connection "";'
    ' proxy_set_header Accept-Encoding "";',
}

_BEHIND_PROXY: dict[str, Any] = {
    "args": "--workers 2 --forwarded-allow-ips 192.0.2.1",
    "middleware": "trust_proxy",
}
_ONE_WORKER = _BEHIND_PROXY | {"args": "--forwarded-allow-ips 192.0.2.1"}

_SITES = "tests.nights"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment that runs."""

    #: The address that people use.
    url: str
    #: The server on whose machine the person on call has a shell.
    server: Server

    @property
    def direct(self) -> str:
        """The server's own address."""
        return f"http://{HOST}:{self.server.port}"


@dataclass(frozen=True, slots=True)
class Night:
    """A deployment that can be started, and its symptom in a user's words."""

    symptom: str
    start: Callable[[], AbstractContextManager[Deployment]]


@contextmanager
def _behind(edit: dict[str, str], **settings: Any) -> Iterator[Deployment]:
    """A good server behind an nginx that is not."""
    with (
        Server(**_BEHIND_PROXY, **settings) as server,
        Proxy("nginx", server.port, protocol="plain", edit=edit) as proxy,
    ):
        yield Deployment(proxy.url, server)


def _buffering() -> AbstractContextManager[Deployment]:
    return _behind(BUFFERING)


def _idle() -> AbstractContextManager[Deployment]:
    return _behind({IDLE_LIMIT: "10s"})


@contextmanager
def _captive_gzip() -> Iterator[Deployment]:
    """A good deployment, as one office sees it through its gateway."""
    with (
        _behind({}) as good,
        Proxy(
            "nginx",
            int(good.url.rpartition(":")[2]),
            protocol="plain",
            edit=COMPRESSING,
        ) as gateway,
    ):
        yield Deployment(gateway.url, good.server)


@contextmanager
def _two_machines(one: Server, other: Server) -> Iterator[Deployment]:
    """Two servers, of which a proxy asks one after the other."""
    with one, other:
        line = "server 127.0.0.1:8000 max_fails=0;"
        second = f"server {HOST}:{other.port} max_fails=0;"
        edit = {line: f"{line}\n        {second}"}
        with Proxy("nginx", one.port, protocol="plain", edit=edit) as proxy:
            yield Deployment(proxy.url, one)


def _two_logs() -> AbstractContextManager[Deployment]:
    return _two_machines(Server(**_ONE_WORKER), Server(**_ONE_WORKER))


@contextmanager
def _clock() -> Iterator[Deployment]:
    with RedisServer() as redis:
        given = _ONE_WORKER | {"broker_url": redis.url, "name": "night"}
        ahead = Server(site=f"{_SITES}.ahead", **given)
        with _two_machines(Server(**given), ahead) as found:
            yield found


@contextmanager
def _site(name: str, **settings: Any) -> Iterator[Deployment]:
    """A server whose processes have a fault."""
    with Server(site=f"{_SITES}.{name}", **settings) as server:
        yield Deployment(f"http://{HOST}:{server.port}", server)


def _drawn_key() -> AbstractContextManager[Deployment]:
    return _site("drawn_key", args="--workers 2")


def _deaf() -> AbstractContextManager[Deployment]:
    return _site("deaf", args="--workers 2")


@contextmanager
def _descriptors() -> Iterator[Deployment]:
    with (
        _site("few_files", max_clients_per_user=None) as found,
        crowd(found.server.port, 0) as visitors,
    ):
        # A stream takes a second descriptor for a moment, so they do not come at once.
        for _ in range(FILES // 20):
            visitors.join_all(10, found.server.port)
        yield found


@contextmanager
def _full_disk() -> Iterator[Deployment]:
    with small_disk() as disk, Server(broker_url=f"sqlite:///{disk}/hub.db") as server:
        server.publish("the last one that had room")
        fill(disk)
        yield Deployment(f"http://{HOST}:{server.port}", server)


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a disk of 1 MiB. Raises PermissionError where nothing may be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "sse-hub-night", folder]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            raise PermissionError("a small disk can be mounted by root alone")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    """Write a file until nothing more fits."""
    with (disk / "backup.tar").open("wb", buffering=0) as backup:
        try:
            while True:
                backup.write(b"x" * 4096)
        except OSError:
            return


@contextmanager
def _evicting() -> Iterator[Deployment]:
    """A Redis that is shared with a cache, which fills it again and again."""
    policy = "--maxmemory 4mb --maxmemory-policy allkeys-random"
    with (
        RedisServer(*policy.split()) as redis,
        Server(args="--workers 2", broker_url=redis.url, name="night") as server,
    ):
        server.publish("soon gone")
        ended = threading.Event()

        def cache() -> None:
            with redis.connect() as client:
                while not ended.wait(0.5):
                    for _ in range(100):
                        client.set(os.urandom(8).hex(), b"x" * 10_000)

        cache_thread = threading.Thread(target=cache)
        cache_thread.start()
        try:
            yield Deployment(f"http://{HOST}:{server.port}", server)
        finally:
            ended.set()
            cache_thread.join()


#: The nights by the name of their fault.
NIGHTS = {
    "buffering": Night(
        "Orders appear on the dashboard only after a reload. On my machine it works.",
        _buffering,
    ),
    "idle": Night(
        "The page says every ten seconds that it reconnects. When there is much to do,"
        " it does not.",
        _idle,
    ),
    "two-logs": Night(
        "Of two people with the same page open, often only one sees a new order.",
        _two_logs,
    ),
    "secret-key": Night(
        "People have to log in again and again, and the page says 401 now and then.",
        _drawn_key,
    ),
    "full-disk": Night(
        "Nothing new arrives on any page, and an order ends with an error 500.",
        _full_disk,
    ),
    "evicting": Night(
        "Now and then all pages load everything again at the same moment. Nobody has"
        " deployed.",
        _evicting,
    ),
    "descriptors": Night(
        "The first hundred visitors are fine. Pages of all later ones connect again and"
        " again.",
        _descriptors,
    ),
    "deaf": Night(
        "About half of the people see nothing new since this morning. Their pages say"
        " that they are connected.",
        _deaf,
    ),
    "clock": Night(
        "Since the second machine came, every other start of the mobile app fails with"
        " 401, although its ticket is a second old.",
        _clock,
    ),
    "captive-gzip": Night(
        "In the office of one customer nothing new appears. The same people see it at"
        " home at once. (The address is the office's way to the site.)",
        _captive_gzip,
    ),
}
