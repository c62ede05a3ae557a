"""Several workers at one socket, and their shares of the clients."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psutil
import pytest

from tests.kit.reader import wait_until
from tests.live.crowd import Crowd, Member
from tests.live.server import Connection, Server

pytestmark = pytest.mark.live

WORKERS = 4

# Without the spread, one worker has 2.5 to 3.5 times the mean. The margin is for a busy
# machine, which may keep the others from accepting in time.
MOST = 1.6


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    args = f"--workers {WORKERS} --graceful-timeout 3"
    with Server(args=args, max_clients_per_user=None) as server:
        yield server


@pytest.fixture
def server(started: Server) -> Server:
    """A server without clients; all its workers answer."""
    wait_until(lambda: len(answering(started)) == WORKERS, within=30.0)
    wait_until(lambda: held(started).total() == 0)
    return started


def answering(server: Server) -> set[int]:
    """Return the workers that answer requests.

    All requests are made at once; one worker could answer them one by one.
    """
    with ExitStack() as stack:
        pages = [
            stack.enter_context(closing(Connection(server.port, "/slow")))
            for _ in range(4 * WORKERS)
        ]
        return {int(b"".join(page)) for page in pages}


def held(server: Server) -> Counter[int]:
    """Return the number of connections of each worker, as the kernel counts."""
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
    """Let ``count`` clients come, one after another."""
    for _ in range(count):
        member = them.join(server.port)
        them.read_some(until=lambda m=member: m.events)  # type: ignore[misc]
        # The shares are least even if all workers are idle again.
        time.sleep(apart)


@contextmanager
def clients() -> Iterator[Crowd]:
    them = Crowd()
    try:
        yield them
    finally:
        them.leave()


def test_no_worker_has_far_more_clients_than_its_share(server: Server) -> None:
    """Each client costs its worker CPU with every event."""
    with clients() as them:
        come(them, server, 100, apart=0.05)
        assert max(held(server).values()) < MOST * 100 / WORKERS


def test_a_worker_that_begins_anew_gets_its_share(server: Server) -> None:
    """Clients of a worker that was killed come back to the worker in its place."""
    with clients() as them:
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


def test_a_stopped_worker_keeps_nobody_out(server: Server) -> None:
    """The other workers wait for it only a moment."""
    with clients() as them:
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


def test_workers_that_all_but_one_are_stopped_leave_it_everybody(
    server: Server,
) -> None:
    """New clients are let in beyond its share."""
    with clients() as them:
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
