"""A thousand clients on one worker: their events, and the memory afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.reader import wait_until
from tests.live.crowd import crowd
from tests.live.server import DELIVERIES, Server, raw_request

pytestmark = pytest.mark.live

EVENTS = [str(number) for number in range(100)]

# An interpreter keeps some memory after its first thousand greenlets. This has room to
# spare; a leak of the state of each client would be twenty times as much.
_SLACK_KIB = 4_000


@pytest.fixture(scope="module", params=DELIVERIES)
def started(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(
        request.param,
        args="--worker-connections 1200 --backlog 2048",
        max_clients_per_user=None,
    ) as server:
        yield server


@pytest.fixture
def server(started: Server) -> Server:
    """A server without streams."""
    wait_until(lambda: started.stats()["connections"] == 0)
    return started


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def test_a_thousand_get_every_event_in_order_and_leave_nothing_behind(
    server: Server,
) -> None:
    """No event is lost or doubled; memory and descriptors are free again afterwards."""
    worker = server.worker()
    before = server.stats()["closed"].get("client_gone", 0)

    def a_thousand() -> None:
        with crowd(server.port, 1000) as them:
            assert server.stats()["connections"] == 1000
            server.request("POST", "/publish/100")
            them.read_until(lambda member: len(member.data) >= 100)
            assert all(member.data == EVENTS for member in them.members)
        wait_until(lambda: server.stats()["connections"] == 0)

    a_thousand()
    descriptors = server.json("/process")["descriptors"]
    memory = resident_kib(worker)
    a_thousand()
    wait_until(lambda: server.json("/process")["descriptors"] <= descriptors)
    assert resident_kib(worker) < memory + _SLACK_KIB
    assert server.stats()["closed"] == {"client_gone": before + 2000}


@pytest.mark.parametrize("kind", DELIVERIES)
def test_a_client_that_reads_nothing_is_closed_and_the_others_see_nothing(
    kind: str,
) -> None:
    """The writer is blocked in the kernel, and the hub ends it from outside."""
    with (
        Server(kind, connection_timeout=1.0, heartbeat_interval=1.0) as server,
        raw_request(server.port),
        server.stream() as reader,
    ):
        reader.next("connected")
        wait_until(lambda: server.stats()["connections"] == 2)
        payload = "x" * 1_000_000
        for number in range(12):
            server.publish(f"{number} {payload}")
        received = [event.split()[0] for event in reader.data(12, within=30.0)]
        assert received == [str(number) for number in range(12)]
        wait_until(lambda: server.stats()["closed"].get("stalled") == 1)
        assert server.stats()["connections"] == 1
        server.publish("after")
        assert reader.data(1) == ["after"]


def test_those_who_read_late_get_everything_in_order(server: Server) -> None:
    """Clients that read nothing for a while miss nothing, and no other client waits."""
    before = server.stats()["closed"]
    with crowd(server.port, 20) as late, crowd(server.port, 60) as them:
        sent = [f"{number} {'x' * 20_000}" for number in range(30)]
        for data in sent:
            server.publish(data)
        them.read_until(lambda member: len(member.data) >= 30)
        assert server.stats()["closed"] == before
        late.read_until(lambda member: len(member.data) >= 30)
        server.publish("live")
        for each in (them, late):
            each.read_until(lambda member: member.data[-1] == "live")
            assert all(member.data == [*sent, "live"] for member in each.members)


def test_a_storm_of_resumes_is_served_in_order(server: Server) -> None:
    """All clients come back at once, each with an id of its own."""
    with crowd(server.port, 200) as them:
        server.request("POST", "/publish/20")
        them.read_until(lambda member: len(member.data) >= 20)
        # Each client is cut off at another event.
        seen = [
            member.events[1 + index % 20] for index, member in enumerate(them.members)
        ]
    with crowd(server.port, 0) as again:
        for event in seen:
            again.join(server.port, last=event.id)
        missing = {
            id(member): EVENTS[int(event.data) + 1 : 20]
            for member, event in zip(again.members, seen, strict=True)
        }
        again.read_until(lambda m: len(m.data) >= len(missing[id(m)]))
        server.publish("live")
        again.read_until(lambda m: m.data and m.data[-1] == "live")
        for member in again.members:
            assert member.data == [*missing[id(member)], "live"]
