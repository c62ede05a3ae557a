"""The CPU time of the followers of eight workers, beside eight bare tails.

One process publishes 1,000 events a second to a channel without clients, on SQLite. The
workers have a few idle streams each, so they follow the log, and deliver nothing. A
bare tail is a loop that selects the rows after its last one, every millisecond. Prints
the CPU time per event and process. Ratios are comparable between machines; the times
are not.

``python -m benchmarks.followers tail FILE SECONDS`` is one bare tail.
"""

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from benchmarks.processes import Server, answer, running

ROUNDS = 5
FOLLOWERS = 8
PACE = 1000
STREAMS = 64
SECONDS = 4

# The publisher goes on for longer than it is measured, and its start takes some time.
_AT_MOST_SECONDS = 60

_PACED = ("paced", PACE, _AT_MOST_SECONDS)

_LOOK_SECONDS = 0.001


def tail(path: str, seconds: str) -> dict[str, float]:
    """Return the CPU seconds of a bare tail, and the number of rows that it read."""
    connection = sqlite3.connect(path, isolation_level=None)
    first = last = _newest(connection)
    before = time.process_time()
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        rows = connection.execute(
            "SELECT offset, body FROM record WHERE offset > ? ORDER BY offset", (last,)
        ).fetchall()
        if rows:
            last = rows[-1][0]
        time.sleep(_LOOK_SECONDS)
    return {"cpu": time.process_time() - before, "rows": last - first}


def _newest(connection: sqlite3.Connection) -> int:
    (offset,) = connection.execute("SELECT MAX(offset) FROM record").fetchone()
    return int(offset or 0)


def measure_workers(settings: dict[str, str], path: Path) -> float:
    """Return the microseconds of CPU per event and worker, less those of idle ones."""
    with (
        Server("hub", workers=FOLLOWERS, settings=settings) as server,
        running("listeners", server.port, STREAMS, _AT_MOST_SECONDS),
    ):
        idle, _ = _measure(server, path)
        with running("publishers", *_PACED, settings=settings):
            used, events = _measure(server, path)
    return (used - idle) / (events * FOLLOWERS) * 1e6


def _measure(server: Server, path: Path) -> tuple[float, int]:
    """Return the CPU seconds of some seconds, and the number of events in them.

    On a busy machine the publisher may not keep its pace.
    """
    with closing(sqlite3.connect(path)) as connection:
        before, first = server.cpu(), _newest(connection)
        time.sleep(SECONDS)
        return server.cpu() - before, _newest(connection) - first


def measure_tails(settings: dict[str, str], path: Path) -> float:
    """Return the microseconds of CPU per event and bare tail."""
    with (
        running("publishers", *_PACED, settings=settings),
        ThreadPoolExecutor(FOLLOWERS) as pool,
    ):
        asked = [
            pool.submit(answer, "followers", "tail", str(path), SECONDS)
            for _ in range(FOLLOWERS)
        ]
        found = [each.result() for each in asked]
    return (
        sum(each["cpu"] for each in found) / sum(each["rows"] for each in found) * 1e6
    )


def main() -> None:
    """Print the table."""
    workers, tails = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "hub.db")
            settings = {"broker_url": f"sqlite:///{path}"}
            workers.append(measure_workers(settings, path))
            tails.append(measure_tails(settings, path))
    ratios = [mine / other for mine, other in zip(workers, tails, strict=True)]
    print(f"us of CPU per event, {FOLLOWERS} processes, {PACE} events a second")
    print(f"{'bare tail':12}{'worker':>9}{'ratio':>8}")
    print(
        f"{statistics.median(tails):9.1f}{statistics.median(workers):12.1f}"
        f"{statistics.median(ratios):8.2f}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["tail"]:
        print(json.dumps(tail(*sys.argv[2:])))
    else:
        main()
