"""Several workers on one machine: one log, one order, whatever happens to a worker."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.hand import fields
from tests.live.crowd import crowd
from tests.live.server import Server
from tests.reader import wait_until

pytestmark = pytest.mark.live

# gunicorn loses a TERM to a worker that is just being started, and then waits for it.
PATIENCE = "--graceful-timeout 3"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(args=f"--workers 4 {PATIENCE}", max_clients_per_user=None) as server:
        yield server


def pids(server: Server) -> set[int]:
    """Return the workers that answer."""
    return {server.worker() for _ in range(40)}


def test_every_workers_clients_get_every_event_in_one_order(server: Server) -> None:
    """Wherever it was published, and wherever they are connected."""
    with crowd(server.port, 80) as them:
        assert len(pids(server)) > 1
        for number in range(60):
            server.publish(str(number))
        them.read_until(lambda member: len(member.data) >= 60)
        expected = [str(number) for number in range(60)]
        assert all(member.data == expected for member in them.members)
        orders = {
            tuple(event.id for event in member.events if event.type == "message")
            for member in them.members
        }
        assert len(orders) == 1


def test_a_client_resumes_on_whichever_worker_it_lands(server: Server) -> None:
    """Ids belong to the log; nothing is lost and nothing comes twice."""
    with server.stream() as first:
        first.next("connected")
        seen = server.publish("seen")
        assert first.data(1) == ["seen"]
    for number in range(10):
        server.publish(str(number))
    for _ in range(12):
        with server.stream(Last_Event_ID=seen) as again:
            assert fields(again.next())["resumed"] is True
            assert again.data(10) == [str(number) for number in range(10)]


def test_a_logout_ends_streams_on_every_worker(server: Server) -> None:
    """Whichever worker answers the request."""
    cookie = server.cookie("alice")
    streams = [server.stream(user=None, Cookie=cookie) for _ in range(12)]
    for stream in streams:
        stream.next("connected")
    server.request("POST", "/logout", Cookie=cookie)
    for stream in streams:
        stream.wait_for_end()
        stream.close()


def test_an_idempotency_key_holds_across_workers(server: Server) -> None:
    """A webhook that is delivered twice lands on two workers."""
    first = server.publish("x", idempotency_key="one delivery")
    again = {server.publish("x", idempotency_key="one delivery") for _ in range(20)}
    assert again == {first}


def test_a_killed_worker_loses_nothing() -> None:
    """Its clients come back to the others, and history is all there."""
    with (
        Server(args=f"--workers 2 {PATIENCE}", max_clients_per_user=None) as server,
        crowd(server.port, 40) as them,
    ):
        for number in range(20):
            server.publish(str(number))
        them.read_until(lambda member: len(member.data) >= 20)
        # Whichever holds the clients; workers accept unevenly.
        for worker in pids(server):
            os.kill(worker, signal.SIGKILL)
        them.read_some(until=lambda: all(member.ended for member in them.members))
        wait_until(lambda: answers(server))
        for number in range(20, 40):
            server.publish(str(number))
        for member in list(them.members):
            them.come_back(member)
        them.read_until(lambda member: len(member.data) >= 40)
        expected = [str(number) for number in range(40)]
        assert all(member.data == expected for member in them.members)
        assert not any(e.type == "reset" for m in them.members for e in m.events)


def test_a_restart_of_the_whole_server_loses_nothing() -> None:
    """The file is the log: ids of before are good afterwards."""
    with Server(args=f"--workers 2 {PATIENCE}") as server:
        with server.stream() as stream:
            stream.next("connected")
            server.publish("before")
            assert stream.data(1) == ["before"]
            last = stream.last_event_id
        server.publish("missed")
        server.restart()
        server.publish("after")
        with server.stream(Last_Event_ID=last) as again:
            assert fields(again.next())["resumed"] is True
            assert again.data(2) == ["missed", "after"]


@pytest.mark.parametrize(
    "args",
    [
        f"--workers 2 {PATIENCE} --preload",
        f"--workers 2 {PATIENCE} -k gthread --threads 9",
    ],
)
def test_other_ways_to_run_workers(args: str) -> None:
    """A preloaded app, and threads instead of greenlets."""
    with Server(args=args) as server:
        streams = [server.stream() for _ in range(2)]
        for stream in streams:
            stream.next("connected")
        server.publish("x")
        for stream in streams:
            assert stream.data(1) == ["x"]
            stream.close()


def test_a_reload_moves_everybody_without_loss() -> None:
    """HUP: the new workers know what the old ones said."""
    with Server(args=f"--workers 2 {PATIENCE}") as server:
        stream = server.stream()
        stream.next("connected")
        server.publish("one")
        assert stream.data(1) == ["one"]
        server.signal(signal.SIGHUP)
        stream.wait_for_end()
        stream.close()
        server.publish("two")
        # An old worker that still listens refuses for now; a browser comes back later.
        wait_until(lambda: all_ready(server))
        with server.stream(Last_Event_ID=stream.last_event_id) as again:
            assert fields(again.next())["resumed"] is True
            assert again.data(1) == ["two"]


def answers(server: Server) -> bool:
    """Tell whether there is a worker that answers."""
    try:
        return server.get("/events/health")[0] == 200
    except OSError:
        return False


def all_ready(server: Server) -> bool:
    """Tell whether whichever worker answers is ready to take streams."""
    return all(server.get("/events/health")[0] == 200 for _ in range(20))
