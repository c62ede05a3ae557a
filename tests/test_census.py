"""The census: what the workers of one machine tell each other, through a real file."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flask_sse_hub.server.census import Census
from tests.colleague import Colleague

LISTENER = 4711

Start = Callable[..., Colleague]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "census"


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    """Return what starts another worker that has so many clients."""
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


def test_workers_see_each_others_clients(census: Census, start: Start) -> None:
    """And each its own."""
    census.join()
    census.tell(7)
    assert start(3).has_joined()
    assert start(5).has_joined()
    mine, others = census.counts()
    assert (mine, sorted(others)) == (7, [3, 5])


def test_workers_that_join_at_once_get_slots_of_their_own(
    census: Census, start: Start
) -> None:
    """As those of a server that has just been started do."""
    census.join()
    members = [start(number) for number in range(1, 9)]
    for member in members:
        assert member.has_joined()
    assert sorted(census.counts()[1]) == list(range(1, 9))


def test_a_dead_worker_is_not_counted(census: Census, start: Start) -> None:
    """It was killed, and could not leave."""
    census.join()
    member = start(3)
    assert member.has_joined()
    member.end()
    assert census.counts() == (0, [])


def test_a_dead_workers_slot_is_given_to_the_next(census: Census, start: Start) -> None:
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
    """It drains, and takes nobody in."""
    census.join()
    census.tell(7)
    census.leave()
    assert not census.joined
    assert census.counts() == (0, [])
    again = Census(LISTENER, directory=directory)
    again.join()
    assert again.counts() == (0, [])
    again.leave()


def test_the_hubs_of_one_process_are_one_worker(
    census: Census, directory: Path
) -> None:
    """What counts is how many clients a process has to serve."""
    census.join()
    census.tell(2)
    beside = Census(LISTENER, directory=directory)
    beside.join()
    beside.tell(3)
    assert census.counts() == (5, [])
    beside.leave()
    assert census.counts() == (2, [])


def test_servers_do_not_count_each_others_workers(census: Census, start: Start) -> None:
    """They listen to sockets of their own."""
    census.join()
    assert start(3, listener=LISTENER + 1).has_joined()
    assert census.counts() == (0, [])


def test_what_gone_servers_have_left_is_removed(
    census: Census, start: Start, directory: Path
) -> None:
    """And what belongs to one that runs is not."""
    gone = start(3, listener=1)
    assert gone.has_joined()
    assert start(3, listener=2).has_joined()
    gone.end()
    census.join()
    assert {path.name for path in directory.iterdir()} == {"2", str(LISTENER)}


def test_a_worker_that_was_stopped_while_it_joined_holds_up_nobody(
    census: Census, start: Start, directory: Path
) -> None:
    """Nobody waits for the lock."""
    import fcntl

    directory.mkdir(mode=0o700)
    with census.path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            census.join()
        assert not census.joined
    census.join()
    assert census.joined


def test_a_stopped_worker_is_counted_with_what_it_holds(
    census: Census, start: Start
) -> None:
    """Its clients are still there, and are served when it goes on."""
    census.join()
    member = start(3)
    assert member.has_joined()
    os.kill(member.pid, signal.SIGSTOP)
    assert census.counts() == (0, [3])


def test_a_file_that_was_cleaned_away_is_left(census: Census, start: Start) -> None:
    """The others make a new one, and meet there."""
    census.join()
    census.path.unlink()
    census.counts()
    assert not census.joined
    census.join()
    assert start(3).has_joined()
    assert census.counts() == (0, [3])


def test_where_there_can_be_no_directory_there_is_no_census(tmp_path: Path) -> None:
    """Whoever asks goes without one."""
    tmp_path.joinpath("file").touch()
    census = Census(LISTENER, directory=tmp_path / "file" / "census")
    with pytest.raises(OSError):
        census.join()
    assert not census.joined


def test_a_directory_that_is_none_is_refused(census: Census, directory: Path) -> None:
    """Somebody else may have put a link to a place of theirs there."""
    elsewhere = directory.with_name("elsewhere")
    elsewhere.mkdir()
    directory.symlink_to(elsewhere)
    with pytest.raises(OSError, match="not a directory of this user"):
        census.join()
    assert not list(elsewhere.iterdir())


def test_only_its_owner_can_read_the_census(census: Census) -> None:
    """How many clients there are is nobody else's business."""
    census.join()
    assert census.path.parent.stat().st_mode & 0o777 == 0o700
    assert census.path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_read_as_far_as_it_goes(census: Census) -> None:
    """A slot that is cut off is nobody's, and is given to the next."""
    census.path.parent.mkdir(mode=0o700)
    census.path.write_bytes(b"\xff" * 11)
    census.join()
    assert census.counts() == (0, [])


def test_nobody_joins_a_full_census(census: Census, directory: Path) -> None:
    """What lies beyond is not looked at, so it is not written either."""
    directory.mkdir(mode=0o700)
    slot = os.getppid().to_bytes(4, sys.byteorder) + bytes(4)
    census.path.write_bytes(slot * 512)
    with pytest.raises(OSError, match="no slot left"):
        census.join()
    assert not census.joined


def test_a_census_that_was_not_joined_says_nothing(census: Census) -> None:
    """To tell and to leave are no errors."""
    census.tell(3)
    census.leave()
    assert census.counts() == (0, [])
    assert not census.path.exists()
