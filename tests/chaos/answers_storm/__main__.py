"""Answers through a storm: killed, reloaded and stopped workers of a real server.

``python -m tests.chaos.answers_storm --broker redis`` runs 60 answers on four workers.
Three readers of each drop at random places. The exit code is 1 if a reader misses or
doubles a word, or is told of more than one end.
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
from contextlib import contextmanager
from typing import Any

from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer
from tests.live.dropping_reader import ALICE, DroppingReader
from tests.live.server import Server, asleep

_WORKERS = 4
_ANSWERS = 60
_WORDS = 150
_PACE = 0.2
_READERS = 3

# Between two faults, so that most answers are restarted less often than the bound.
_FAULT_SECONDS = 6.0

# A stopped worker is written off in this time: a beat of this server takes 0.5 seconds.
_ASLEEP_SECONDS = 5.0


@contextmanager
def _server(broker: str) -> Iterator[Server]:
    settings: dict[str, Any] = {"answers_per_user": None, "max_clients_per_user": None}
    args = f"--workers {_WORKERS} --graceful-timeout 3"
    if broker == "sqlite":
        with Server(args=args, **settings) as server:
            yield server
        return
    with RedisServer() as redis:
        settings |= {"broker_url": redis.url, "name": "answers"}
        with Server(args=args, **settings) as server:
            yield server


def _start(server: Server) -> str:
    wanted = {"count": _WORDS, "pace": _PACE, "mark": "w", "keep": 120.0}
    wanted["id"] = answer_id = f"{_WORDS}-{_PACE * 1000:.0f}-{secrets.token_hex(8)}"
    status, body, _ = server.request("POST", "/lasting/start", body=wanted, **ALICE)
    if status != 200:
        raise RuntimeError(body)
    return answer_id


def _do_harm(server: Server, draw: random.Random, happened: Counter[str]) -> None:
    """Kill, reload or stop some worker."""
    what = draw.choice(["kill", "kill", "reload", "stop"])
    happened[what] += 1
    victim = draw.choice(server.workers())
    if what == "kill":
        os.kill(victim, signal.SIGKILL)
    elif what == "reload":
        server.signal(signal.SIGHUP)
    else:
        with asleep(victim):
            time.sleep(_ASLEEP_SECONDS)
    wait_until(lambda: len(server.workers()) >= _WORKERS)


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
    for answer_id, found in texts.items():
        if len(found) != 1:
            yield f"the readers of {answer_id} have {len(found)} texts"


def main() -> int:
    """Run the storm that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=["sqlite", "redis"], required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    plan = parser.parse_args()
    print(plan)
    draw, happened = random.Random(plan.seed), Counter[str]()
    with _server(plan.broker) as server:
        wait_until(lambda: len(server.workers()) == _WORKERS)
        readers = [
            DroppingReader(server, answer_id, seed=draw.randrange(10**6))
            for answer_id in [_start(server) for _ in range(_ANSWERS)]
            for _ in range(_READERS)
        ]
        for reader in readers:
            reader.start()
        while any(reader.is_alive() for reader in readers):
            time.sleep(_FAULT_SECONDS)
            if sum(happened.values()) < 5:
                _do_harm(server, draw, happened)
    ends = Counter(_told(reader) for reader in readers)
    drops = sum(reader.drops for reader in readers)
    print(f"{dict(happened)}, ends {dict(ends)}, drops {drops}")
    found = list(_faults(readers))
    print(*found[:20], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
