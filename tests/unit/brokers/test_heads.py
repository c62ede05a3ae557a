"""The heads that processes note beside an SQLite log."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.brokers.sqlite.heads import Heads
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.event import Event
from flask_sse_hub.events.record import Cursor, Record
from tests.kit.hand import KEEP_ALL

Make = Callable[[int], Heads]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return a function that opens the heads as a process with this id would."""
    made: list[Heads] = []

    def opened(pid: int) -> Heads:
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: pid)
            heads = Heads(tmp_path / "hub.db")
        heads.open(alone=not made)
        made.append(heads)
        return heads

    yield opened
    for each in made:
        each.close()


def test_each_process_sees_the_newest_head_of_all(make: Make) -> None:
    """A late note of an older head hides no newer one."""
    ours, theirs = make(1), make(2)
    theirs.note(Cursor("e", 6))
    ours.note(Cursor("e", 5))
    assert ours.newest() == theirs.newest() == Cursor("e", 6)
    theirs.note(Cursor("e", 4))
    assert ours.newest() == Cursor("e", 6)


def test_a_process_that_has_seen_nothing_cannot_tell(make: Make) -> None:
    """The notes may be those of a log that has been replaced since."""
    make(1).note(Cursor("e", 6))
    assert make(2).newest() is None


def test_different_epochs_are_unclear_until_both_know(make: Make) -> None:
    """Offsets of different epochs have no order."""
    ours, theirs = make(1), make(2)
    for heads in (ours, theirs):
        heads.note(Cursor("e", 6))
    theirs.note(Cursor("f", 3))
    assert ours.newest() is None
    assert theirs.newest() == Cursor("f", 3)
    ours.note(Cursor("f", 2))
    theirs.note(Cursor("f", 4))
    assert ours.newest() == theirs.newest() == Cursor("f", 4)


def test_the_first_process_forgets_the_notes_of_earlier_ones(
    make: Make, tmp_path: Path
) -> None:
    """A power cut may have taken the records that they noted."""
    ours = make(1)
    ours.note(Cursor("e", 6))
    again = Heads(tmp_path / "hub.db")
    again.open(alone=True)
    again.note(Cursor("f", 2))
    assert again.newest() == Cursor("f", 2)
    again.close()
    assert again.newest() is None


def test_a_slot_that_is_being_written_is_unclear(make: Make, tmp_path: Path) -> None:
    """A head is never put together from two."""
    ours = make(1)
    ours.note(Cursor("e", 6))
    path = tmp_path / "hub.db.heads"
    written = bytearray(path.read_bytes())
    written[-8] ^= 1
    path.write_bytes(written)
    assert ours.newest() is None


def test_without_the_file_the_log_is_asked(tmp_path: Path) -> None:
    """A folder in its place, for example, makes connects dearer and breaks nothing."""
    (tmp_path / "hub.db.heads").mkdir()
    broker = SQLiteBroker(tmp_path / "hub.db", KEEP_ALL)
    cursor = broker.publish(Record((BROADCAST,), Event("x")))
    assert broker.seen_head() == cursor
    broker.close()


def test_a_follower_notes_what_a_killed_process_could_not(tmp_path: Path) -> None:
    """Otherwise its last record would stay later than each client that comes."""
    killed, other = (SQLiteBroker(tmp_path / "hub.db", KEEP_ALL) for _ in range(2))
    start = killed.head()
    assert other.seen_head() == start
    killed._heads.close()
    cursor = killed.publish(Record((BROADCAST,), Event("x")))
    assert other.seen_head() == start
    follower = other.follow(start)
    assert next(follower).cursor == cursor
    assert other.seen_head() == cursor
    follower.close()  # type: ignore[attr-defined]
    for broker in (killed, other):
        broker.close()
