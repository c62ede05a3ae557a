"""The book: each worker's copy of all answers in the log, folded from their records.

All readers of a worker read from its book, so a late reader costs no read of the log.
Pure: no input or output, no clock, no Flask.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

from ...events import address
from ...events.event import Event
from ...events.record import Cursor, Record
from . import records
from .entry import BookEntry
from .records import Begun, Ended, UnreadableRecord


class Living(Protocol):
    """The processes of the log that are not known to be gone."""

    def __contains__(self, member_id: str) -> bool: ...


class Book:
    """The answers of one log.

    ``changed`` is called with an answer that begins or ends. It is called with None
    after changes that may concern any of them, as when a runner is gone.
    """

    kinds: Collection[str] = ("a",)

    def __init__(
        self,
        members: Living,
        *,
        changed: Callable[[BookEntry | None], None] = lambda _: None,
    ) -> None:
        self._members = members
        self._changed = changed
        # The follower changes it. Others make copies of it.
        self._entries: dict[str, BookEntry] = {}
        self._restarting = False
        # The records of answers whose own record comes later in the state.
        self._early: dict[str, list[Record]] = {}
        #: Keys in the state of the log that belong to no answer: (answer, key), with
        #: the places of their values.
        self.strays: dict[tuple[str, str], Cursor] = {}

    def get(self, answer_id: str) -> BookEntry | None:
        """Return an answer, None if it is unknown."""
        return self._entries.get(answer_id)

    def entries(self) -> list[BookEntry]:
        """Return all answers, the oldest first."""
        return list(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    # The fold

    def restart(self) -> None:
        """Begin again. Open readers keep their entry, if the answer is still there."""
        self._restarting = True
        self._early.clear()
        self.strays.clear()
        for entry in self._entries.values():
            entry.begin_again()

    def caught_up(self) -> None:
        """Forget the answers that are gone, and look which runners are."""
        self._restarting = False
        for answer_id, early in self._early.items():
            for record in early:
                self._note_stray(answer_id, record)
        self._early.clear()
        for entry in self.entries():
            if not entry.is_confirmed:
                self._forget(entry.begun.id)
                continue
            entry.readers = {each for each in entry.readers if each in self._members}
            entry.runner_is_gone = entry.begun.runner not in self._members
            entry.tell()
        self._changed(None)

    def member_left(self, member_id: str) -> None:
        """Note that a member is gone, with its readers and the answers it produced."""
        for entry in self.entries():
            if member_id in entry.readers:
                entry.readers.discard(member_id)
                entry.tell()
            if entry.begun.runner == member_id and entry.is_running:
                entry.runner_is_gone = True
                self._changed(None)

    def take(self, record: Record) -> None:
        """Take the next record. Raises UnreadableRecord."""
        unreadable = None
        for each in records.separate(record):
            try:
                self._take(each)
            except UnreadableRecord as error:
                # The parts of other answers beside it must not be lost.
                unreadable = error
        if unreadable is not None:
            raise unreadable

    def _take(self, record: Record) -> None:
        answer_id = address.name_of(record.addresses[0])
        if record.deletes:
            self._removed(answer_id, record.key)
            return
        data = records.read(record)
        content = record.content
        kind = content.type if isinstance(content, Event) else ""
        if kind == records.ANSWER:
            self._take_answer(answer_id, record, data)
            return
        entry = self._entries.get(answer_id)
        if entry is None or not entry.is_confirmed or entry.begun.run != data["run"]:
            if self._restarting:
                self._early.setdefault(answer_id, []).append(record)
            else:
                self._note_stray(answer_id, record)
            return
        if record.key is not None:
            entry.keys[record.key] = record.cursor
        if kind == records.READERS or self._is_of_turn(entry, kind, data):
            if kind == records.SNAPSHOT:
                self._take_snapshot(entry, data)
            elif entry.is_running:
                self._take_news(entry, kind, record, data)
        entry.tell()

    def _is_of_turn(self, entry: BookEntry, kind: str, data: dict[str, object]) -> bool:
        """Tell whether a record is of the present turn, or of a later one."""
        turn = records.read_turn(data)
        if turn > entry.begun.turn:
            # It proves that the turn has begun. The turn's own record was replaced by
            # its end, which comes later.
            if kind == records.SNAPSHOT:
                content = records.read_content(entry.begun, data)
                entry.drop_unless_in(content)
            entry.begin_turn(replace(entry.begun, turn=turn))
        return turn == entry.begun.turn

    def _take_answer(
        self, answer_id: str, record: Record, data: dict[str, object]
    ) -> None:
        begun = records.read_begun(answer_id, data)
        ended = records.read_ended(data)
        entry = self._entries.get(answer_id)
        if entry is None or (entry.begun.run != begun.run and not entry.is_running):
            entry = self._begin(begun, record, replaced=entry)
        elif entry.begun.run != begun.run:
            if entry.is_confirmed or not self._restarting:
                # An app has used one id twice at the same moment: the first one counts.
                return
            entry = self._begin(begun, record, replaced=entry)
        entry.is_confirmed = True
        if record.key is not None:
            entry.keys[record.key] = record.cursor
        for early in self._early.pop(answer_id, ()):
            self._take(early)
        self._take_turn(entry, begun, ended, record)
        entry.tell()
        # A later turn may be one that this process wants.
        self._changed(None if begun.turn else entry)

    def _take_turn(
        self, entry: BookEntry, begun: Begun, ended: Ended | None, record: Record
    ) -> None:
        """Take the beginning or the end of a turn.

        A turn begins only if the answer has not ended before. Only those that have seen
        a turn begin write its end, so an end proves that its turn has begun.
        """
        if begun.turn > entry.begun.turn and (entry.is_running or ended is not None):
            entry.begin_turn(begun)
            entry.turn_at = record.time
        if begun.turn != entry.begun.turn:
            return
        entry.begun = begun
        if ended is not None and entry.is_running:
            entry.end(ended, time=record.time)

    def _begin(
        self, begun: Begun, record: Record, *, replaced: BookEntry | None
    ) -> BookEntry:
        entry = BookEntry(
            begun,
            time=record.time,
            is_whole=not self._restarting,
            traceparent=record.traceparent,
        )
        if replaced is not None:
            entry.keys |= replaced.keys
            self._forget(begun.id)
        self._entries[begun.id] = entry
        return entry

    def _take_snapshot(self, entry: BookEntry, data: dict[str, object]) -> None:
        is_last = data.get("last") is True
        # Everything after the end is ignored, but for the content as it was at the end.
        if entry.is_running or is_last:
            content = records.read_content(entry.begun, data)
            is_newest = is_last or not self._restarting
            entry.fill(content, is_newest=is_newest, is_last=is_last)

    def _take_news(
        self, entry: BookEntry, kind: str, record: Record, data: dict[str, object]
    ) -> None:
        if kind == records.PART:
            content = records.read_content(entry.begun, data)
            entry.add(records.read_position(data), content)
        elif kind == records.PROGRESS:
            entry.progress = records.read_progress(data)
            entry.progress_count += 1
        elif kind == records.RELEASE:
            entry.runner_is_gone = True
            self._changed(None)
        elif kind == records.READERS and record.key is not None:
            entry.readers.add(record.key.removeprefix(f"{records.READERS}-"))
            entry.was_read = True

    def _removed(self, answer_id: str, key: str | None) -> None:
        self.strays.pop((answer_id, key or ""), None)
        early = self._early.get(answer_id, [])
        early[:] = [each for each in early if each.key != key]
        entry = self._entries.get(answer_id)
        if entry is None or key is None:
            return
        if key == entry.begun.key:
            self._forget(answer_id)
            return
        entry.keys.pop(key, None)
        entry.readers.discard(key.removeprefix(f"{records.READERS}-"))
        entry.tell()

    def _forget(self, answer_id: str) -> None:
        entry = self._entries.pop(answer_id)
        entry.is_forgotten = True
        entry.tell()

    def _note_stray(self, answer_id: str, record: Record) -> None:
        if record.key is not None:
            self.strays[answer_id, record.key] = record.cursor
            self._changed(None)
