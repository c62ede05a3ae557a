"""Open streams around logouts, on two workers: no stream survives its session.

Run ``python -m tests.attacks``; the exit code is 1 if a stream survives.
The deterministic form is ``tests/unit/hub/test_ended_sessions.py``.
"""

import argparse
import queue
import random
import sys
import threading
import time

from tests.kit.reader import StreamReader
from tests.live.server import DELIVERIES, Refused, Server

_CONNECTS = 10

# The connects and the logout are sent within this time, in a random order.
_SPREAD_SECONDS = 0.04

# Long enough for a worker that is behind, short enough to see a stream that stays.
_PATIENCE_SECONDS = 10.0


def race(server: Server, *, by_ticket: bool) -> tuple[int, int]:
    """Race one logout; return how many streams were opened, and how many survived."""
    cookie = server.cookie("alice")
    path, headers = "/events", {"Cookie": cookie}
    if by_ticket:
        _, ticket, _ = server.request("POST", "/ticket", body={}, Cookie=cookie)
        path, headers = f"/events?ticket={ticket.decode()}", {}
    opened: queue.Queue[StreamReader] = queue.Queue()

    def connect() -> None:
        time.sleep(random.uniform(0.0, _SPREAD_SECONDS))
        try:
            opened.put(server.stream(path, user=None, **headers))
        except Refused as refusal:
            if refusal.status != 401:
                raise

    threads = [threading.Thread(target=connect) for _ in range(_CONNECTS)]
    for thread in threads:
        thread.start()
    time.sleep(random.uniform(0.0, _SPREAD_SECONDS))
    server.request("POST", "/logout", Cookie=cookie)
    for thread in threads:
        thread.join()
    streams = [opened.get() for _ in range(opened.qsize())]
    survived = 0
    for stream in streams:
        try:
            stream.wait_for_end(within=_PATIENCE_SECONDS)
        except queue.Empty:
            survived += 1
        stream.close()
    return len(streams), survived


def main() -> int:
    """Race the logouts that the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.attacks", description=__doc__
    )
    parser.add_argument("--logouts", type=int, default=200)
    logouts = parser.parse_args().logouts
    survivors = 0
    for kind in DELIVERIES:
        with Server(kind, args="--workers 2", max_clients_per_user=None) as server:
            results = [
                race(server, by_ticket=number % 2 == 1) for number in range(logouts)
            ]
        opened, survived = (sum(counts) for counts in zip(*results, strict=True))
        survivors += survived
        print(
            f"{kind}: {logouts} logouts, {logouts * _CONNECTS} connects,"
            f" {opened} streams opened, {survived} survived"
        )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
