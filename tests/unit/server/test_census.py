"""The census: how the workers of one machine share counts, through a real file."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flask_sse_hub.server.census import Census
from tests.kit.colleague import Colleague

LISTENER = 4711

Start = Callable[..., Colleague]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "census"


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    """Return a function that starts another worker with a number of clients."""
    with ExitStack() as started:

        def start(clients: int, *, listener: int = LISTENER) -> Colleague:
            colleague = Colleague(directory, listener, clients)
            started.callback(colleague.end)
            return colleague

        yield start


@pytest.fixture
def census(directory: Path) -> Iterator[Census]:
    clock = iter(range(0, 1_000_000, 10))
    census = Census(LISTENER, directory=directory, clock=lambda: next(clock))
    yield census
    census.leave()


def test_workers_see_the_clients_of_each_other(census: Census, start: Start) -> None:
    """Each worker also knows its own count."""
    census.join()
    census.tell(7)
    assert start(3).has_joined()
    assert start(5).has_joined()
    mine, others = census.counts()
    assert (mine, sorted(others)) == (7, [3, 5])


def test_workers_that_join_at_once_have_separate_slots(
    census: Census, start: Start
) -> None:
    """The workers of a server that has just been started join like this."""
    census.join()
    members = [start(number) for number in range(1, 9)]
    for member in members:
        assert member.has_joined()
    assert sorted(census.counts()[1]) == list(range(1, 9))


def test_a_dead_worker_is_not_counted(census: Census, start: Start) -> None:
    """A killed worker could not leave."""
    census.join()
    member = start(3)
    assert member.has_joined()
    member.end()
    assert census.counts() == (0, [])


def test_the_slot_of_a_dead_worker_is_used_again(census: Census, start: Start) -> None:
    """The file does not grow with each restart."""
    census.join()
    for clients in range(5):
        member = start(clients)
        assert member.has_joined()
        assert census.counts()[1] == [clients]
        size = census.path.stat().st_size
        member.end()
    assert size == 16


def test_a_worker_that_left_is_not_counted(census: Census, directory: Path) -> None:
    """A draining worker admits no clients."""
    census.join()
    census.tell(7)
    census.leave()
    assert not census.joined
    assert census.counts() == (0, [])
    again = Census(LISTENER, directory=directory)
    again.join()
    assert again.counts() == (0, [])
    again.leave()


def test_the_hubs_of_one_process_count_as_one_worker(
    census: Census, directory: Path
) -> None:
    """The count is the number of clients that a process has to serve."""
    census.join()
    census.tell(2)
    beside = Census(LISTENER, directory=directory)
    beside.join()
    beside.tell(3)
    assert census.counts() == (5, [])
    beside.leave()
    assert census.counts() == (2, [])


def test_servers_do_not_count_the_workers_of_other_servers(
    census: Census, start: Start
) -> None:
    """Each server listens to a socket of its own."""
    census.join()
    assert start(3, listener=LISTENER + 1).has_joined()
    assert census.counts() == (0, [])


def test_files_of_dead_servers_are_removed(
    census: Census, start: Start, directory: Path
) -> None:
    """The files of running servers are kept."""
    gone = start(3, listener=1)
    assert gone.has_joined()
    assert start(3, listener=2).has_joined()
    gone.end()
    census.join()
    assert {path.name for path in directory.iterdir()} == {"2", str(LISTENER)}


def test_a_worker_stopped_while_joining_holds_up_no_other(
    census: Census, start: Start, directory: Path
) -> None:
    """Workers do not wait for the lock."""
    import fcntl

    directory.mkdir(mode=0o700)
    with census.path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            census.join()
        assert not census.joined
    census.join()
    assert census.joined


def test_a_stopped_worker_is_counted_with_its_clients(
    census: Census, start: Start
) -> None:
    """The clients are still connected and are served when the worker continues."""
    census.join()
    member = start(3)
    assert member.has_joined()
    os.kill(member.pid, signal.SIGSTOP)
    assert census.counts() == (0, [3])


def test_a_worker_leaves_a_file_that_was_deleted(census: Census, start: Start) -> None:
    """The other workers create a new file and meet there."""
    census.join()
    census.path.unlink()
    census.counts()
    assert not census.joined
    census.join()
    assert start(3).has_joined()
    assert census.counts() == (0, [3])


def test_without_a_usable_directory_there_is_no_census(tmp_path: Path) -> None:
    """The hub then works without one."""
    tmp_path.joinpath("file").touch()
    census = Census(LISTENER, directory=tmp_path / "file" / "census")
    with pytest.raises(OSError):
        census.join()
    assert not census.joined


def test_a_directory_that_is_a_link_is_refused(census: Census, directory: Path) -> None:
    """Another user of the machine may have put the link there."""
    elsewhere = directory.with_name("elsewhere")
    elsewhere.mkdir()
    directory.symlink_to(elsewhere)
    with pytest.raises(OSError, match="not a directory of this user"):
        census.join()
    assert not list(elsewhere.iterdir())


def test_only_its_owner_can_read_the_census(census: Census) -> None:
    """The number of clients is private."""
    census.join()
    assert census.path.parent.stat().st_mode & 0o777 == 0o700
    assert census.path.stat().st_mode & 0o777 == 0o600


def test_a_truncated_file_can_be_used(census: Census) -> None:
    """A slot that is cut off belongs to no worker and is used again."""
    census.path.parent.mkdir(mode=0o700)
    census.path.write_bytes(b"\xff" * 11)
    census.join()
    assert census.counts() == (0, [])


def test_a_full_census_refuses_to_join(census: Census, directory: Path) -> None:
    """Slots beyond the limit are not read, so none is written either."""
    directory.mkdir(mode=0o700)
    slot = os.getppid().to_bytes(4, sys.byteorder) + bytes(4)
    census.path.write_bytes(slot * 512)
    with pytest.raises(OSError, match="no slot left"):
        census.join()
    assert not census.joined


def test_a_census_that_was_not_joined_does_nothing(census: Census) -> None:
    """Calling tell() or leave() is no error."""
    census.tell(3)
    census.leave()
    assert census.counts() == (0, [])
    assert not census.path.exists()
