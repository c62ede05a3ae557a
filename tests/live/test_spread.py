"""Several workers at one socket: how they share the clients."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psutil
import pytest

from tests.live.crowd import Crowd, Member
from tests.live.server import Connection, Server
from tests.reader import wait_until

pytestmark = pytest.mark.live

WORKERS = 4

# Without the spread one of them has 2.5 to 3.5 times the mean. A busy machine may keep
# the others from accepting in time.
MOST = 1.6


@contextmanager
def started() -> Iterator[Server]:
    """Start a server all of whose workers answer."""
    args = f"--workers {WORKERS} --graceful-timeout 3"
    with Server(args=args, max_clients_per_user=None) as server:
        wait_until(lambda: len(answering(server)) == WORKERS, within=30.0)
        yield server


def answering(server: Server) -> set[int]:
    """Return the workers that answer, asked all at once: alone one would do it."""
    with ExitStack() as stack:
        pages = [
            stack.enter_context(closing(Connection(server.port, "/slow")))
            for _ in range(4 * WORKERS)
        ]
        return {int(b"".join(page)) for page in pages}


def held(server: Server) -> Counter[int]:
    """Return how many connections each worker has, by the kernel's account."""
    return Counter(
        {
            worker: sum(
                each.status == psutil.CONN_ESTABLISHED
                and each.laddr.port == server.port
                for each in psutil.Process(worker).net_connections("tcp")
            )
            for worker in server.workers()
        }
    )


def come(them: Crowd, server: Server, count: int, *, apart: float = 0.0) -> None:
    """Have so many clients come, one after another."""
    for _ in range(count):
        member = them.join(server.port)
        them.read_some(until=lambda m=member: m.events)  # type: ignore[misc]
        # Workers that are all idle again are those that share least evenly.
        time.sleep(apart)


@contextmanager
def clients() -> Iterator[Crowd]:
    them = Crowd()
    try:
        yield them
    finally:
        them.leave()


def test_no_worker_has_far_more_clients_than_its_share() -> None:
    """Each costs its worker CPU with every event."""
    with started() as server, clients() as them:
        come(them, server, 100, apart=0.05)
        assert max(held(server).values()) < MOST * 100 / WORKERS


def test_a_worker_that_begins_anew_gets_its_share() -> None:
    """Those whose worker was killed come back to the one in its place."""
    with started() as server, clients() as them:
        come(them, server, 100)
        before = held(server)
        worker = max(before, key=lambda pid: before[pid])
        os.kill(worker, signal.SIGKILL)
        them.read_some(until=lambda: len(ended(them)) == before[worker])
        wait_until(lambda: answering(server) - before.keys(), within=30.0)
        for member in ended(them):
            them.come_back(member)
            them.read_some(until=lambda m=member: len(m.events) > 1)  # type: ignore[misc]
            time.sleep(0.05)
        after = held(server)
        assert worker not in after
        assert sum(after.values()) == 100
        assert max(after.values()) < MOST * 100 / WORKERS


def ended(them: Crowd) -> list[Member]:
    return [member for member in them.members if member.ended]


def test_a_stopped_worker_keeps_nobody_out() -> None:
    """The others wait for it no more than a moment."""
    with started() as server, clients() as them:
        come(them, server, 40)
        before = held(server)
        worker = min(before, key=lambda pid: before[pid])
        os.kill(worker, signal.SIGSTOP)
        try:
            come(them, server, 100)
            for _ in range(20):
                assert server.get("/events/health")[0] == 200
        finally:
            os.kill(worker, signal.SIGCONT)
        come(them, server, 20)


def test_workers_that_all_but_one_are_stopped_leave_it_everybody() -> None:
    """Its share is exceeded by all that come."""
    with started() as server, clients() as them:
        come(them, server, 40)
        (serving, *stopped) = held(server)
        for worker in stopped:
            os.kill(worker, signal.SIGSTOP)
        try:
            before = held(server)
            come(them, server, 100)
            assert held(server) - before == {serving: 100}
        finally:
            for worker in stopped:
                os.kill(worker, signal.SIGCONT)
