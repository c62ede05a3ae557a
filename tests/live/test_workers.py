"""Several workers: one log, one order, even when workers stop or die."""

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.compat.table import compat
from tests.kit.hand import fields
from tests.kit.reader import wait_until
from tests.live.crowd import Crowd, crowd
from tests.live.server import Server

pytestmark = pytest.mark.live

# gunicorn loses a TERM to a worker that is just starting, and then waits for it.
PATIENCE = "--graceful-timeout 3"

Start = Callable[..., Server]


@pytest.fixture(scope="module", params=["sqlite", "redis", "sqlite, generator"])
def start(request: pytest.FixtureRequest) -> Start:
    """Return a function that starts workers on a log of their own, of each kind.

    Streams are delivered by their own sockets, and for one kind by generator.
    """
    names = itertools.count()

    def start(args: str = "", *, workers: int = 2) -> Server:
        settings: dict[str, Any] = {"max_clients_per_user": None}
        if request.param == "sqlite, generator":
            settings["socket_takeover"] = False
        if request.param == "redis":
            url = request.getfixturevalue("redis_server").url
            settings |= {"broker_url": url, "name": f"live-{next(names)}"}
        return Server(args=f"--workers {workers} {PATIENCE} {args}", **settings)

    return start


@pytest.fixture(scope="module")
def server(start: Start) -> Iterator[Server]:
    with start(workers=4) as server:
        yield server


@pytest.fixture(scope="module")
def two_workers(start: Start) -> Iterator[Server]:
    with start() as server:
        yield server


@pytest.fixture
def replaceable(two_workers: Server) -> Server:
    """Two workers that a test may kill, reload or restart."""
    wait_until(lambda: len(two_workers.workers()) == 2)
    # gunicorn would lose a TERM to a worker that is still starting.
    for worker in two_workers.workers():
        with two_workers.only(worker):
            assert two_workers.worker() == worker
    return two_workers


def test_every_workers_clients_get_every_event_in_one_order(server: Server) -> None:
    """Events are published on each worker, and clients are connected to each."""
    with crowd(server.port, 0) as them:
        for worker in server.workers():
            with server.only(worker):
                them.join_all(20, server.port)
        published = iter(range(60))
        for worker in server.workers():
            with server.only(worker):
                for number in itertools.islice(published, 15):
                    server.publish(str(number))
        them.read_until(lambda member: len(member.data) >= 60)
        expected = [str(number) for number in range(60)]
        assert all(member.data == expected for member in them.members)
        orders = {
            tuple(event.id for event in member.events if event.type == "message")
            for member in them.members
        }
        assert len(orders) == 1


def test_any_worker_answers_for_all_of_them(two_workers: Server) -> None:
    """Figures are sums, also in metrics, and a worker that is stopped is silent."""
    streams = []
    for worker in two_workers.workers():
        with two_workers.only(worker):
            streams.append(two_workers.stream())
            streams[-1].next("connected")
    found = two_workers.stats()
    assert (found["connections"], found["users"]) == (2, 1)
    assert {each["pid"] for each in found["workers"]} == set(two_workers.workers())
    metrics = two_workers.get("/events/metrics")[1].decode()
    assert metrics.count("sse_hub_opened_total{") == 2
    one, two = found["workers"]
    assert two_workers.json(f"/events/stats?worker={two['worker']}")["connections"] == 1
    with two_workers.only(one["pid"]):
        assert two_workers.stats()["silent"] == [two["worker"]]
    for stream in streams:
        stream.close()


def test_any_worker_changes_the_channels_of_a_stream(two_workers: Server) -> None:
    """The change travels in the log, and its place there is the same for all."""
    holder, other = two_workers.workers()
    with two_workers.only(holder):
        stream = two_workers.stream("/events?channel=news")
        client_id = fields(stream.next("connected"))["client_id"]
    with two_workers.only(other):
        two_workers.publish("before", channel="alice")
        status, body, _ = two_workers.request(
            "POST",
            "/events/subscriptions",
            body={
                "client_id": client_id,
                "subscribe": ["alice"],
                "unsubscribe": ["news"],
            },
            Authorization="Bearer alice",
        )
        assert status == 202
        two_workers.publish("left", channel="news")
        two_workers.publish("after", channel="alice")
    told = stream.next()
    assert (told.type, told.id) == ("subscribed", json.loads(body)["id"])
    assert fields(told) == {"channels": ["alice"]}
    assert stream.data(1) == ["after"]
    stream.close()


def test_a_client_resumes_on_whichever_worker_it_lands(server: Server) -> None:
    """Ids belong to the log; no event is lost, and none comes twice."""
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
    """One of the workers answers the request, and tells the others."""
    cookie = server.cookie("alice")
    streams = [server.stream(user=None, Cookie=cookie) for _ in range(12)]
    for stream in streams:
        stream.next("connected")
    server.request("POST", "/logout", Cookie=cookie)
    for stream in streams:
        stream.wait_for_end()
        stream.close()


def test_an_idempotency_key_holds_across_workers(server: Server) -> None:
    """A webhook that is delivered twice may reach two workers."""
    first = server.publish("x", idempotency_key="one delivery")
    again = {server.publish("x", idempotency_key="one delivery") for _ in range(20)}
    assert again == {first}


def test_a_killed_worker_loses_nothing(replaceable: Server) -> None:
    """Its clients come back to another worker, and history is complete."""
    server = replaceable
    with crowd(server.port, 40) as them:
        for number in range(20):
            server.publish(str(number))
        them.read_until(lambda member: len(member.data) >= 20)
        # One worker alone could hold all clients, so all are killed.
        for worker in server.workers():
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


def test_a_restart_of_the_whole_server_loses_nothing(replaceable: Server) -> None:
    """The log outlives the server, so earlier ids are valid afterwards."""
    server = replaceable
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
        "--preload",
        "-k gthread --threads 9",
    ],
)
def test_other_ways_to_run_workers(start: Start, args: str) -> None:
    """A preloaded app works, and so do threads instead of greenlets."""
    with start(args) as server:
        streams = [server.stream() for _ in range(2)]
        for stream in streams:
            stream.next("connected")
        server.publish("x")
        for stream in streams:
            assert stream.data(1) == ["x"]
            stream.close()


@compat("pyuwsgi", "uWSGI with several processes", "one log, and a killed process")
@pytest.mark.parametrize("kind", ["--threads 9", "--gevent 9 --gevent-monkey-patch"])
def test_processes_of_uwsgi_share_a_log(kind: str) -> None:
    """The app is loaded before the forks, and a process that died is started again."""
    with Server("uwsgi", args=f"--master --processes 2 {kind}") as server:
        workers = server.workers()
        assert len(workers) == 2
        cookie = server.cookie("alice")
        streams = []
        for worker in workers:
            with server.only(worker):
                assert server.worker() == worker
                streams.append(server.stream(user=None, Cookie=cookie))
                streams[-1].next("connected")
        for worker in workers:
            with server.only(worker):
                server.publish(str(worker))
        published = [str(worker) for worker in workers]
        assert [stream.data(2) for stream in streams] == [published, published]
        os.kill(workers[0], signal.SIGKILL)
        streams[0].wait_for_end()
        last = streams[0].last_event_id
        server.publish("missed")
        with server.stream(user=None, Cookie=cookie, Last_Event_ID=last) as again:
            assert fields(again.next())["resumed"] is True
            assert again.data(1) == ["missed"]
            assert streams[1].data(1) == ["missed"]
            server.request("POST", "/logout", Cookie=cookie)
            again.wait_for_end()
            streams[1].wait_for_end()
        for stream in streams:
            stream.close()


def test_a_reload_moves_everybody_without_loss(replaceable: Server) -> None:
    """HUP: the new workers know the events of the old ones."""
    server = replaceable
    with crowd(server.port, 20) as them:
        server.publish("one")
        them.read_until(lambda member: member.data)
        server.signal(signal.SIGHUP)
        them.read_until(lambda member: member.ended)
        server.publish("two")
        # An old worker that still listens refuses for a moment; clients come back
        # again, as browsers do.
        them.read_some(until=lambda: _all_have(them, ["one", "two"]))
        assert all(member.data == ["one", "two"] for member in them.members)
        assert not any(e.type == "reset" for m in them.members for e in m.events)


def test_workers_that_are_added_hear_everything(start: Start) -> None:
    """TTIN: no setting says how many workers there are."""
    with start(workers=1) as server, crowd(server.port, 15) as them:
        server.signal(signal.SIGTTIN)
        wait_until(lambda: len(server.workers()) == 2)
        added = max(server.workers(), key=lambda pid: psutil.Process(pid).create_time())
        with server.only(added):
            them.join_all(15, server.port)
            for number in range(10):
                server.publish(str(number))
        them.read_until(lambda member: len(member.data) >= 10)


def test_workers_that_are_replaced_lose_nothing(start: Start) -> None:
    """max_requests: clients move on, and receive the events published meanwhile."""
    with start("--max-requests 60") as server, crowd(server.port, 20) as them:
        published: list[str] = []
        while not any(member.ended for member in them.members):
            published.append(str(len(published)))
            server.publish(published[-1])
            them.read_once(0.0)
        published.append("last")
        server.publish("last")
        them.read_some(until=lambda: _all_have(them, published))
        assert all(member.data == published for member in them.members)


def _all_have(them: Crowd, published: list[str]) -> bool:
    for member in them.members:
        if member.ended:
            them.come_back(member)
    return all(len(member.data) >= len(published) for member in them.members)


def answers(server: Server) -> bool:
    """Tell whether any worker answers."""
    try:
        return server.get("/events/health")[0] == 200
    except OSError:
        return False
