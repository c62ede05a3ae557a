"""The time from a logout on one worker to the end of a stream on another worker.

Prints the median and the worst of all logouts. For comparison, a request that does
nothing is measured in turn with them, on the same connection.
"""

import http.client
import statistics
import time
from contextlib import closing
from typing import Any

from tests.kit.ports import HOST
from tests.kit.redis_server import RedisServer
from tests.live.server import DELIVERIES, SQLITE, Server

_LOGOUTS = 50


def main() -> None:
    """Print a line for each kind of log and each kind of delivery."""
    with RedisServer() as redis:
        for kind in DELIVERIES:
            logs: dict[str, dict[str, Any]] = {
                "sqlite": {"broker_url": SQLITE},
                "redis": {"broker_url": redis.url, "name": f"logout-{kind}"},
            }
            for broker, settings in logs.items():
                with Server(kind, args="--workers 2", **settings) as server:
                    _print(f"{broker}, {kind}", *logouts(server))


def logouts(server: Server) -> tuple[list[float], list[float]]:
    """Return the seconds of each logout, and of each request that does nothing."""
    here, there = server.workers()
    ends: list[float] = []
    requests: list[float] = []
    # The connection stays with the worker that accepted it, like a browser's.
    with server.only(there):
        connection = http.client.HTTPConnection(HOST, server.port)
        connection.connect()
        _ask(connection, "GET", "/events/health/live")
    with closing(connection):
        for _ in range(_LOGOUTS):
            with server.only(here):
                cookie = server.cookie("alice")
                stream = server.stream(user=None, Cookie=cookie)
                stream.next("connected")
            requests.append(_ask(connection, "GET", "/events/health/live"))
            started = time.monotonic()
            _ask(connection, "POST", "/logout", Cookie=cookie)
            stream.wait_for_end()
            ends.append(time.monotonic() - started)
            stream.close()
    return ends, requests


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, **headers: str
) -> float:
    """Send a request; return the seconds until its answer was read."""
    started = time.monotonic()
    connection.request(method, path, headers=headers)
    connection.getresponse().read()
    return time.monotonic() - started


def _print(what: str, ends: list[float], requests: list[float]) -> None:
    end, request = statistics.median(ends), statistics.median(requests)
    print(
        f"{what}: from the logout to the end of the stream elsewhere {end * 1e3:.1f} ms"
        f" (worst {max(ends) * 1e3:.1f}), {end / request:.1f} x a request"
        f" ({request * 1e3:.1f} ms)"
    )


if __name__ == "__main__":
    main()
