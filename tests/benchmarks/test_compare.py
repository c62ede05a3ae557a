"""The scenarios, with few clients, on the servers that need no installation."""

import os
import shutil
import signal
from collections.abc import Iterator

import psutil
import pytest

from benchmarks.apps import cookie_of
from benchmarks.compare import scenarios
from benchmarks.compare.__main__ import Overdue, main, measure, within
from benchmarks.compare.results import Results
from benchmarks.compare.scenarios import Figures, Scenario, pace
from benchmarks.load.crowd import Crowd, CrowdError, stamped
from benchmarks.peers import Peer, PeerDied
from benchmarks.peers.floor import Floor
from benchmarks.peers.ours import ByGenerator, BySocket, SocketLoggedIn, Unyielding
from benchmarks.peers.queues import Queues
from tests.kit.reader import DEADLINE, wait_until
from tests.wire.real_parts import absent

OURS = [BySocket, ByGenerator, Unyielding, Queues]


@pytest.fixture(autouse=True)
def compiler() -> None:
    if shutil.which("cc") is None:
        absent("cc", remedy="apt-get install gcc libc6-dev")


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with Crowd() as found:
        yield found


@pytest.mark.live
@pytest.mark.parametrize("kind", [Floor, *OURS], ids=lambda kind: kind.name)
def test_every_event_reaches_every_client(kind: type[Peer], crowd: Crowd) -> None:
    """Events go out one at a time. A missing or doubled event would be an error."""
    with kind() as peer:
        figures = pace(peer, crowd, clients=20, events=10)
        assert crowd.report().events == 200
    assert figures["delivery_us"] > 0
    assert figures["last_p50_ms"] <= figures["last_p99_ms"]


@pytest.mark.live
@pytest.mark.parametrize("kind", [Floor, BySocket], ids=lambda kind: kind.name)
def test_a_burst_reaches_every_client(kind: type[Peer], crowd: Crowd) -> None:
    """One request publishes the same event many times."""
    with kind() as peer:
        crowd.connect(20, port=peer.port, path=peer.path)
        peer.publish_burst(stamped(100), 50)
        crowd.wait(50)
        assert crowd.report().events == 1000


@pytest.mark.live
def test_an_event_to_a_channel_reaches_its_clients_only(crowd: Crowd) -> None:
    """The path and the publish name the same channels."""
    with BySocket() as peer:
        assert peer.channel_path is not None
        crowd.connect(6, port=peer.port, path=peer.channel_path, groups=3)
        peer.publish(stamped(100), channel=1)
        peer.publish(stamped(100), channel=2)
        crowd.wait(1, group=1)
        crowd.wait(1, group=2)
        assert crowd.report().events == 4


@pytest.mark.live
def test_each_client_may_be_logged_in_as_its_own_user(crowd: Crowd) -> None:
    """A client without a name is refused."""
    with SocketLoggedIn() as peer:
        with pytest.raises(CrowdError, match="401"):
            crowd.connect(1, port=peer.port)
        crowd.close()
        crowd.connect(10, port=peer.port, headers=(cookie_of("user%d"),))
        assert b'"users":10' in peer.request("GET", "/events/stats").replace(b" ", b"")


@pytest.mark.live
@pytest.mark.parametrize("kind", [Floor, BySocket], ids=lambda kind: kind.name)
def test_a_server_that_dies_is_an_error(kind: type[Peer], crowd: Crowd) -> None:
    """Reading its cost, publishing and waiting for its events all raise an error."""
    with kind() as peer:
        crowd.connect(5, port=peer.port, path=peer.path)
        assert peer.cpu() > 0
        assert peer.memory() > 0
        tree = [process.pid for process in peer.tree]
        for pid in tree:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(CrowdError, match="streams have ended"):
            crowd.wait(1)
        with pytest.raises(PeerDied):
            peer.publish(stamped(100))
        # A process that is killed takes a moment to end.
        for started in peer._started:
            started.wait(DEADLINE)
        with pytest.raises(PeerDied):
            peer.cpu()


@pytest.mark.live
def test_all_processes_end_with_their_block() -> None:
    """They also end when the block raises an error."""
    peer = BySocket()

    def fail() -> None:
        with peer:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    tree = [process.pid for process in peer.tree]
    assert len(tree) == 2
    wait_until(lambda: not any(map(is_running, tree)))
    assert not peer.folder.exists()


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Broken(Floor):
    """A server that does not start."""

    name = "broken"

    def start(self) -> None:
        self.run(["sh", "-c", "echo no room; exit 3"])


@pytest.mark.live
def test_a_server_that_does_not_start_says_why() -> None:
    """The error contains the server's output."""
    with pytest.raises(PeerDied, match="no room"), Broken():
        pass


@pytest.mark.live
def test_a_scenario_that_fails_leaves_a_reason_and_no_figures() -> None:
    """The failure is recorded as text, so that other servers can be measured."""

    def fails(peer: Peer, crowd: Crowd) -> Figures:
        crowd.connect(1, port=peer.port)
        crowd.wait(1, within=0.05)
        return {"delivery_us": 1.0}

    results = Results(1)
    measure(results, Scenario("paced", (Floor,), fails), Floor, number=0)
    assert not results.figures
    assert "1 of 1 clients" in results.failures["paced", "floor"]


def test_a_measurement_is_interrupted_at_its_time_limit() -> None:
    """The limit also interrupts a wait that would never end."""

    def hang() -> None:
        with within(1):
            signal.pause()

    with pytest.raises(Overdue):
        hang()


def test_a_page_with_only_a_part_of_the_results_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Readers would take it for the whole comparison."""
    monkeypatch.setattr("sys.argv", ["compare", "--write", "--peers", "floor"])
    with pytest.raises(SystemExit):
        main()
    assert "the page is of everything" in capsys.readouterr().err


def test_the_nearest_rank_of_few_values_is_the_longest() -> None:
    """The percentile is a measured value, not an interpolation."""
    p99 = scenarios._p99
    assert p99([1.0, 3.0, 2.0]) == 3.0
    assert p99(map(float, range(1, 201))) == 198.0
