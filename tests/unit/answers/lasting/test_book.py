"""The book: what each worker makes of the records of answers."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flask_sse_hub import Event
from flask_sse_hub.answers.lasting import records
from flask_sse_hub.answers.lasting.book import Book
from flask_sse_hub.answers.lasting.records import Begun, Ended, UnreadableRecord
from flask_sse_hub.answers.progress import Progress
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Record
from tests.unit.answers.lasting.conftest import begun

DONE = Ended(reason="done", id="end-0123456789abcdef")
STOPPED = replace(DONE, reason="stopped")


class Log:
    """A book, and the records that it was given."""

    def __init__(self, *members: str) -> None:
        self.book = Book({*members, "runner"})
        self.records: list[Record] = []

    def put(self, *given: Record) -> None:
        for record in given:
            placed = replace(
                record, cursor=Cursor("e", len(self.records) + 1), time=100.0
            )
            self.records.append(placed)
            self.book.take(placed)

    def restart(self, *kept: Record) -> None:
        """Begin again with some values and newest records."""
        self.book.restart()
        for record in kept:
            self.book.take(record)
        self.book.caught_up()


@pytest.fixture
def log() -> Log:
    log = Log()
    log.put(records.begin(begun()))
    return log


def content(log: Log) -> Any:
    entry = log.book.get("answer")
    assert entry is not None
    return entry.content


def part(at: int, content: Any, of: Begun | None = None) -> Record:
    return records.part(of or begun(), at, content)


def test_the_parts_follow_each_other(log: Log) -> None:
    """A reader gets what comes after its position, joined."""
    log.put(part(0, "one "), part(4, "two "), part(8, "three"))
    entry = log.book.get("answer")
    assert entry is not None
    assert entry.content == "one two three"
    found = entry.after(6)
    assert found is not None
    assert (found.content, found.upto, found.is_joined) == ("o three", 13, True)
    assert entry.after(13) is entry.after(99) is None


def test_items_are_counted_one_by_one() -> None:
    """Without a merge the position is a number of items."""
    log = Log()
    of = begun(is_text=False)
    log.put(records.begin(of), part(0, ["a", ["b", "type", None]], of))
    log.put(part(2, [{"json": "[1]"}], of))
    entry = log.book.get("answer")
    assert entry is not None
    found = entry.after(1)
    assert found is not None
    assert found.content == [["b", "type", None], {"json": "[1]"}]
    assert entry.length == 3


@pytest.mark.parametrize("again", [(0, "one "), (2, "e two "), (4, "two "), (0, "")])
def test_a_part_that_comes_twice_counts_once(log: Log, again: tuple[int, str]) -> None:
    """Its position tells. So an append whose outcome is unknown can be repeated."""
    log.put(part(0, "one "), part(4, "two "), part(*again), part(8, "three"))
    assert content(log) == "one two three"


def test_a_missing_part_is_noticed_and_comes_with_the_snapshot(log: Log) -> None:
    """Until then nothing after it is read, and the end is not told."""
    log.put(part(0, "one "), part(8, "three"))
    entry = log.book.get("answer")
    assert entry is not None
    assert (entry.content, entry.has_hole) == ("one ", True)
    log.put(records.end(begun(), DONE))
    assert not entry.is_complete
    log.put(records.snapshot(begun(), "one two three", is_last=True))
    assert (entry.content, entry.is_complete) == ("one two three", True)


def test_the_first_end_counts_and_ends_everything(log: Log) -> None:
    """A part that was appended after it is not in anybody's answer."""
    log.put(part(0, "one"), records.end(begun(), STOPPED))
    log.put(part(3, "two"), records.snapshot(begun(), "onetwo"))
    log.put(records.progress(begun(), Progress(1)), records.end(begun(), DONE))
    log.put(records.readers(begun(), "w", some=True))
    entry = log.book.get("answer")
    assert entry is not None
    assert entry.ended == STOPPED
    assert entry.ended_at == 100.0
    assert (entry.content, entry.progress, entry.readers) == ("one", None, set())
    # They are known all the same, because somebody has to remove them.
    assert set(entry.keys) == {"answer", "snapshot", "progress", "readers-w"}


def test_the_newest_progress_and_the_readers_are_known(log: Log) -> None:
    """A member that is gone has no readers."""
    log.put(records.progress(begun(), Progress(0.5)))
    log.put(records.progress(begun(), Progress(1, "all")))
    log.put(records.readers(begun(), "w", some=True))
    log.put(records.readers(begun(), "v", some=True))
    log.put(records.readers(begun(), "v", some=False))
    entry = log.book.get("answer")
    assert entry is not None
    assert (entry.progress, entry.progress_count) == (Progress(1, "all"), 2)
    assert (entry.readers, entry.was_read) == ({"w"}, True)
    log.book.member_left("w")
    assert entry.readers == set()
    assert not entry.runner_is_gone
    log.book.member_left("runner")
    assert entry.runner_is_gone


def test_a_book_that_begins_again_knows_the_same(log: Log) -> None:
    """The values come in their order in the log: the answer's own one may be last."""
    log.put(part(0, "one "), records.snapshot(begun(), "one "))
    log.put(records.readers(begun(), "w", some=True), part(4, "two"))
    log.put(records.end(begun(), DONE))
    later = Log("w")
    later.restart(*(each for each in log.records if each.key), log.records[4])
    entry = later.book.get("answer")
    assert entry is not None
    assert entry.ended == DONE
    assert entry.content == "one "
    fresh = Log("w")
    fresh.restart(*log.records[2:])
    entry = fresh.book.get("answer")
    assert entry is not None
    assert entry.content == "one two"


@pytest.mark.parametrize(
    ("end", "is_complete"),
    [
        (records.end(begun(), replace(DONE, length=11)), False),
        (records.end(begun(), replace(DONE, length=7)), True),
        (records.end(begun(), STOPPED), False),
    ],
    ids=["longer", "as long", "unknown"],
)
def test_an_end_after_a_gap_is_told_only_with_the_whole_content(
    log: Log, end: Record, is_complete: bool
) -> None:
    """Parts may have been in the gap. The last snapshot has them."""
    log.put(part(0, "one two"))
    log.restart(end)
    entry = log.book.get("answer")
    assert entry is not None
    assert entry.is_complete == is_complete
    log.put(records.snapshot(begun(), "one two end", is_last=True))
    assert entry.is_complete


def test_a_last_snapshot_is_due_where_the_end_has_no_length(log: Log) -> None:
    """A worker with a gap cannot know otherwise that it has everything."""
    log.put(part(0, "one"), records.snapshot(begun(), "one"))
    log.put(records.end(begun(), STOPPED))
    entry = log.book.get("answer")
    assert entry is not None
    assert entry.lacks_snapshot
    log.put(records.snapshot(begun(), "one", is_last=True))
    assert not entry.lacks_snapshot


def test_a_gap_forgets_no_answer_that_is_still_there(log: Log) -> None:
    """Its readers go on where they are. An answer that is gone is forgotten."""
    other = begun(id="other", run="f" * 16)
    log.put(part(0, "one"), records.begin(other))
    entry, gone = log.book.get("answer"), log.book.get("other")
    assert entry is not None
    assert gone is not None
    log.restart(log.records[0])
    assert log.book.get("answer") is entry
    assert entry.content == "one"
    assert gone.is_forgotten
    assert log.book.get("other") is None


def test_an_unknown_runner_is_gone() -> None:
    """A worker that begins finds an answer, and no beat of its runner."""
    log = Log()
    log.restart(records.begin(begun(runner="dead")), records.begin(begun(id="b")))
    assert [each.runner_is_gone for each in log.book.entries()] == [True, False]


def test_an_id_is_used_again_after_the_end(log: Log) -> None:
    """Records of the first answer do not reach the second one."""
    second = begun(run="f" * 16)
    log.put(part(0, "first"), records.begin(second))
    assert content(log) == "first"
    log.put(records.end(begun(), DONE), records.begin(second))
    assert content(log) == ""
    log.put(part(0, "second", second), part(5, " late"))
    assert content(log) == "second"


def test_what_belongs_to_no_answer_is_found(log: Log) -> None:
    """A runner that was stopped may write after the answer is forgotten."""
    log.put(records.forget("answer", "answer", Cursor("e", 1)))
    assert len(log.book) == 0
    log.put(part(0, "late"), records.snapshot(begun(), "late"))
    assert list(log.book.strays) == [("answer", "snapshot")]
    log.restart(log.records[-1])
    assert list(log.book.strays) == [("answer", "snapshot")]
    log.put(records.forget("answer", "snapshot", Cursor("e", 2)))
    assert log.book.strays == {}


def test_listeners_hear_of_each_change(log: Log) -> None:
    """Until they listen no more."""
    entry = log.book.get("answer")
    assert entry is not None
    heard: list[str] = []

    def listener() -> None:
        heard.append(str(entry.content))

    entry.listen(listener)
    log.put(part(0, "one"))
    entry.unlisten(listener)
    log.put(part(3, "two"))
    assert heard == ["one"]


def _changed(**other: Any) -> Callable[[Record], Record]:
    def change(record: Record) -> Record:
        assert isinstance(record.content, Event)
        data = json.loads(record.content.data) | other
        return replace(record, content=replace(record.content, data=json.dumps(data)))

    return change


_RESTART = {"function": "f", "timeout": 1.0, "app_context": True}


@pytest.mark.parametrize(
    "hostile",
    [
        replace(part(0, "x"), content=Event("{", type="part")),
        replace(part(0, "x"), content=Event("[]", type="part")),
        _changed(run="../x")(part(0, "x")),
        _changed(run=7)(part(0, "x")),
        part(0, ["items"]),
        _changed(content=7)(part(0, "x")),
        *(_changed(at=at)(part(0, "x")) for at in (-1, 1.5, "0", True, None)),
        _changed(done="x")(records.progress(begun(), Progress(1))),
        _changed(keep="x")(records.begin(begun(id="new"))),
        _changed(protocol="telnet")(records.begin(begun(id="new"))),
        _changed(ended={"reason": "bored"})(records.end(begun(), DONE)),
        _changed(ended={"why": "x"})(records.end(begun(), DONE)),
        _changed(ended={"reason": "done", "message": 7})(records.end(begun(), DONE)),
        _changed(ended={"reason": "lost", "id": "x\ndata: y"})(
            records.end(begun(), DONE)
        ),
        *(_changed(turn=turn)(part(0, "x")) for turn in (-1, 9, "1", True)),
        _changed(turn=9)(records.begin(begun(id="new"))),
        *(
            _changed(restart=restart)(records.begin(begun(id="new")))
            for restart in ({"function": "f"}, 7, _RESTART | {"timeout": "x"})
        ),
        records.snapshot(begun(), "x" * 17_000_000),
    ],
)
def test_a_record_of_another_program_changes_nothing(log: Log, hostile: Record) -> None:
    """It is refused as a whole."""
    log.put(part(0, "one"))
    with pytest.raises(UnreadableRecord):
        log.put(hostile)
    entry = log.book.get("answer")
    assert entry is not None
    assert (entry.content, entry.ended, len(log.book)) == ("one", None, 1)


@pytest.mark.parametrize("items", [[["a", "b\nc", None]], [{"json": "{"}], [{}]])
def test_an_item_of_another_program_changes_nothing(items: list[Any]) -> None:
    """A reader could not write it."""
    log = Log()
    of = begun(is_text=False)
    log.put(records.begin(of))
    with pytest.raises(UnreadableRecord):
        log.put(part(0, items, of))
    assert content(log) == []


def test_the_end_fits_where_the_beginning_was() -> None:
    """Otherwise an answer could not end while the state of keys is full."""
    worst = Ended(reason="abandoned", message="\\" * 500, id=DONE.id)
    first, last = records.begin(begun()), records.end(begun(), worst)
    assert last.kept_size <= first.kept_size
    assert address.name_of(last.addresses[0]) == "answer"
