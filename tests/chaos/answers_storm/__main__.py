"""Answers through a storm: killed, reloaded and stopped workers of a real server.

``python -m tests.chaos.answers_storm --broker redis`` runs 60 answers on four workers.
Three readers of each drop at random places. The exit code is 1 if a reader misses or
doubles a word, or is told of more than one end. ``--outages`` takes the log away too:
Redis is killed and starts again, or another program locks the SQLite file.
"""

import argparse
import json
import os
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

from tests.chaos.keepers import KEEPERS, Keeper
from tests.kit.reader import wait_until
from tests.live.dropping_reader import ALICE, DroppingReader
from tests.live.server import Server, asleep

_WORKERS = 4
_WORDS = 150
_PACE = 0.2
_READERS = 3

# Between two faults, so that most answers are restarted less often than the bound.
_FAULT_SECONDS = 6.0

# A stopped worker is written off in this time: a beat of this server takes 0.5 seconds.
_ASLEEP_SECONDS = 5.0

# The storage of the log is away for so long.
_OUTAGE_SECONDS = 4.0

_OUTAGES = {"sqlite": "locks", "redis": "restarts"}

_HARMS = ["kill", "kill", "reload", "stop"]


@contextmanager
def _server(keeper: Keeper) -> Iterator[Server]:
    args = f"--workers {_WORKERS} --graceful-timeout 3"
    with Server(
        args=args, answers_per_user=None, max_clients_per_user=None, **keeper.settings
    ) as server:
        wait_until(lambda: len(server.workers()) == _WORKERS)
        yield server


def _start(server: Server) -> str:
    wanted = {"count": _WORDS, "pace": _PACE, "mark": "w", "keep": 120.0}
    wanted["id"] = answer_id = f"{_WORDS}-{_PACE * 1000:.0f}-{secrets.token_hex(8)}"
    status, body, _ = server.request("POST", "/lasting/start", body=wanted, **ALICE)
    if status != 200:
        raise RuntimeError(body)
    return answer_id


def _readers(
    server: Server, answer_id: str, draw: random.Random
) -> list[DroppingReader]:
    """Return readers of an answer that read already."""
    found = [
        DroppingReader(server, answer_id, seed=draw.randrange(10**6))
        for _ in range(_READERS)
    ]
    for reader in found:
        reader.start()
    return found


def _do_harm(server: Server, what: str, draw: random.Random, keeper: Keeper) -> None:
    """Kill, reload or stop some worker, or take the log away."""
    victim = draw.choice(server.workers())
    if what == "kill":
        os.kill(victim, signal.SIGKILL)
    elif what == "reload":
        server.signal(signal.SIGHUP)
    elif what == "stop":
        with asleep(victim):
            time.sleep(_ASLEEP_SECONDS)
    else:
        with keeper.outages[what]():
            time.sleep(_OUTAGE_SECONDS)
    wait_until(lambda: len(server.workers()) >= _WORKERS, within=60.0)


def _told(reader: DroppingReader) -> str:
    """Return the end that a reader was told of."""
    last = reader.events[-1] if reader.events else None
    if last is None or last.type not in ("done", "error"):
        return "none"
    return str(json.loads(last.data).get("reason", last.type))


def _faults(readers: list[DroppingReader]) -> Iterator[str]:
    whole = "".join(f"w{number} " for number in range(_WORDS))
    texts: dict[str, set[str]] = {}
    for reader in readers:
        text = "".join(each.data for each in reader.events if each.type == "message")
        ends = [each.type for each in reader.events if each.type in ("done", "error")]
        texts.setdefault(reader.answer_id, set()).add(text)
        if len(ends) != 1:
            yield f"a reader of {reader.answer_id} was told of the ends {ends}"
        elif text != whole and (_told(reader) == "done" or not whole.startswith(text)):
            yield f"a reader of {reader.answer_id} has another text: {text[-60:]!r}"
        seen = sum(each.type == "message" for each in reader.events)
        if _told(reader) == "abandoned" and seen > 1:
            yield f"{reader.answer_id} was abandoned, and a reader saw {seen} parts"
    for answer_id, found in texts.items():
        if len(found) != 1:
            yield f"the readers of {answer_id} have {len(found)} texts"


def main() -> int:
    """Run the storm that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=["sqlite", "redis"], required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--outages", action="store_true")
    plan = parser.parse_args()
    print(plan)
    draw = random.Random(plan.seed)
    harms = [draw.choice(_HARMS) for _ in range(5)]
    if plan.outages:
        # In the middle, while all answers run.
        harms[1::2] = [_OUTAGES[plan.broker]] * 2
    happened = iter(harms)
    with KEEPERS[plan.broker]() as keeper, _server(keeper) as server:
        readers: list[DroppingReader] = []
        with ThreadPoolExecutor(8) as pool:
            starting = [pool.submit(_start, server) for _ in range(plan.answers)]
            for started in as_completed(starting):
                readers += _readers(server, started.result(), draw)
        while count := sum(reader.is_alive() for reader in readers):
            time.sleep(_FAULT_SECONDS)
            print(f"{count} readers read", flush=True)
            if (what := next(happened, None)) is not None:
                _do_harm(server, what, draw, keeper)
    ends = Counter(_told(reader) for reader in readers)
    drops = sum(reader.drops for reader in readers)
    print(f"{harms}, ends {dict(ends)}, drops {drops}")
    found = list(_faults(readers))
    print(*found[:20], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
