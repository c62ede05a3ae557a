"""The log in an SQLite file: epochs, appending, reading and retention.

Knows the tables and their meaning. Does not know threads: every call may wait for the
disk, so callers run it in a real thread. One object is used by one thread.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

from ...errors import StateFull
from ...events.address import Address
from ...events.record import MAX_OFFSET, Cursor, GapReason, Record, Retention
from .. import codec
from ..base import PAGE_BYTES, LogBatch, LogState, Replay
from . import (
    bounded,
    ended,
    holes,
    idempotency,
    kept,
    queries,
    retaining,
    short_lived,
    trimmed,
)
from .connection import LogConnection, new_epoch, not_begun
from .membership import Membership
from .view import Appended, Fault, Hole, View

# How many rows one read returns. Decoding them takes 0.3 ms without a pause. A request
# that releases the interpreter to read or write may wait that long to go on.
_PAGE_ROWS = 50

T = TypeVar("T")


class LogFile:
    """One connection to the file of a log."""

    def __init__(
        self,
        path: Path,
        retention: Retention | None,
        *,
        create: bool = True,
        clock: Callable[[], float],
    ) -> None:
        self._file = LogConnection(path, create=create)
        self._create = create
        # The log as the last transaction left it. Set after the commit only: an epoch
        # whose commit failed exists nowhere, and comparing with it would hide a loss.
        self._view = View(Cursor("", 0), {})
        #: The records of the last append().
        self.appended: Appended | None = None
        self._retention = retention
        self._clock = clock
        # The connection that has told the log its retention, also set after the commit.
        self._told: sqlite3.Connection | None = None

    def is_changed(self) -> bool:
        """Tell whether others wrote since the last call. Raises BrokerUnavailable."""
        return self._file.is_changed()

    @property
    def newest(self) -> Cursor:
        """The head as the last transaction saw or left it."""
        return self._view.head

    def has_read_all(self, cursor: Cursor) -> bool:
        """Tell whether the last transaction saw no record after a cursor."""
        return cursor == self._view.head

    def resolve(self, cursor: Cursor) -> Cursor:
        """Return a valid cursor of an earlier epoch as one of the current epoch.

        Any thread may call this: it answers from memory.
        """
        view = self._view
        if cursor.offset <= view.past.get(cursor.epoch, -1):
            return Cursor(view.head.epoch, cursor.offset)
        return cursor

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        self._file.close()

    def join(self, membership: Membership) -> bool:
        """Make this process a user of the file; the first user begins a new epoch.

        Returns whether it is the first. The file's write lock is held meanwhile, so
        that processes join one at a time.
        """
        try:
            with self._file.transaction("BEGIN IMMEDIATE") as connection:
                if not self._create and queries.retention(connection) is None:
                    # Another publisher made the file: each app notes its retention.
                    raise not_begun(self._file.path)
                is_first = membership.join()
                if is_first:
                    # Also finds records that are missing after a restored backup.
                    self._renew(connection, Fault.SHORT)
                self._tell_retention(connection)
        except BaseException:
            membership.leave()
            raise
        return is_first

    def _tell_retention(self, connection: sqlite3.Connection) -> None:
        """Note in the log how much of it to keep; a Publisher has no setting for it."""
        # Once per connection: after a reconnect, the path may lead to another file.
        if self._retention is not None and self._told is not connection:
            connection.execute(
                "INSERT OR REPLACE INTO retention VALUES (1, ?, ?, ?)",
                astuple(self._retention)[:3],
            )
            kept.tell_bounds(connection, self._retention)

    def append(self, records: Sequence[Record]) -> list[Cursor | StateFull]:
        """Append records in one transaction.

        Returns the cursor of each, or the error that kept it out of the log.

        The records survive everything but a loss of power.
        """
        now = self._clock()
        answers: list[Cursor | StateFull] = []
        placed: list[Record] = []
        with self._file.transaction("BEGIN IMMEDIATE") as connection:
            self._tell_retention(connection)
            view = self._look(connection)
            if view.fault is not None:
                # The next offsets were already given, to records that are lost now.
                view = self._renew(connection, view.fault)
            epoch, offset = view.head
            rows = []
            for record in records:
                cursor = idempotency.known(connection, record.idempotency_key, now)
                if cursor is None:
                    body = codec.encode(record)
                    try:
                        kept.keep(
                            connection,
                            record,
                            body,
                            offset=offset + 1,
                            time=now,
                            retention=self._retention,
                        )
                    except StateFull as error:
                        answers.append(error)
                        continue
                    offset += 1
                    cursor = Cursor(epoch, offset)
                    placed.append(
                        replace(record, cursor=cursor, time=now, idempotency_key=None)
                    )
                    rows.append((offset, now, retaining.row_size(record), body))
                    idempotency.remember(
                        connection, record.idempotency_key, cursor, now
                    )
                answers.append(cursor)
            # One call for all rows: a call per row costs twice as much.
            connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?)", rows)
            retaining.trim(connection, self._retention, now, newest=offset, new=placed)
            if addresses := tuple(chain(*(each.ended for each in records))):
                ended.remember(connection, addresses)
            idempotency.forget_old(connection, now)
        self._told = connection
        self._view = View(Cursor(epoch, offset), view.past)
        self.appended = Appended(view.head, LogBatch(tuple(placed), self._view.head))
        if sum(each.size for each in placed) >= PAGE_BYTES:
            # Too much for one batch.
            self.appended = Appended(view.head, LogBatch((), view.head))
        return answers

    def read(self, after: Cursor) -> LogBatch:
        """Return the next records after a cursor, or the gap if there is one."""

        def answer(connection: sqlite3.Connection, view: View) -> LogBatch:
            gap = self._gap(connection, after, view)
            if gap is None and after.offset < holes.missed(connection):
                gap = GapReason.EXPIRED
            if gap is not None:
                return LogBatch((), view.head, gap)
            rows = self._rows(connection, after.offset, view.head)
            records = tuple(_decoded(rows, view.head.epoch))
            cursor = Cursor(view.head.epoch, rows[-1][0]) if rows else view.head
            return LogBatch(records, cursor, malformed=len(rows) - len(records))

        return self._ask(answer)

    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return up to ``page`` records after a cursor."""

        def answer(connection: sqlite3.Connection, view: View) -> Replay:
            gap = self._gap(connection, after, view)
            if gap is not None:
                return Replay((), view.head, gap)
            found: list[Record] = []
            missed = holes.missed(connection)
            offset, size = after.offset, 0
            while rows := self._rows(connection, offset, view.head):
                for record in _decoded(rows, view.head.epoch):
                    found.append(record)
                    size += record.size
                    if len(found) == page or size >= PAGE_BYTES:
                        return Replay(tuple(found), record.cursor, missed=missed)
                offset = rows[-1][0]
            return Replay(tuple(found), view.head, missed=missed)

        return self._ask(answer)

    def bridge(self, after: Cursor, addresses: Sequence[Address]) -> Cursor | None:
        """Return where a reader of some addresses goes on after a trim."""
        # Records that are too old are trimmed only when one is appended.
        while self._trim_old():
            continue

        def answer(connection: sqlite3.Connection, view: View) -> Cursor | None:
            floor = self._floor(connection, view.head)
            if self._gap(connection, after, view) not in (None, GapReason.EXPIRED):
                return None
            missed = holes.missed(connection)
            if not trimmed.spare(
                connection, after.offset, addresses, floor=floor, missed=missed
            ):
                return None
            return Cursor(view.head.epoch, max(after.offset, floor))

        return self._ask(answer)

    def _trim_old(self) -> bool:
        """Trim the log; tell whether there may be more to trim."""
        with self._file.transaction("BEGIN IMMEDIATE") as connection:
            view = self._look(connection)
            return view.fault is None and retaining.trim(
                connection, self._retention, self._clock(), newest=view.head.offset
            )

    def state(self) -> LogState:
        """Return the newest record of each address and key, in log order."""

        def answer(connection: sqlite3.Connection, view: View) -> LogState:
            found = tuple(kept.records(connection, view.head.epoch))
            return LogState(found, view.head)

        return self._ask(answer)

    def head(self) -> Cursor:
        """Return the cursor of the newest record."""
        return self._ask(lambda _, view: view.head)

    def ended(self) -> Sequence[Address]:
        """Return the addresses of the sessions that ended last, the oldest first."""
        return self._ask(lambda connection, _: ended.addresses(connection))

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain."""

        def answer(connection: sqlite3.Connection, view: View) -> Cursor:
            floor = max(self._floor(connection, view.head), holes.missed(connection))
            offset = queries.tail(connection, view.head.offset, floor, max_bytes)
            return Cursor(view.head.epoch, offset)

        return self._ask(answer)

    def _ask(self, answer: Callable[[sqlite3.Connection, View], T]) -> T:
        """Read the log in one transaction; begin a new epoch first if it needs one."""
        while True:
            with self._file.transaction("BEGIN") as connection:
                view = self._look(connection)
                if view.fault is None:
                    try:
                        found = answer(connection, view)
                    except Hole:
                        view = replace(view, fault=Fault.LOSS)
            if view.fault is None:
                self._view = view
                return found
            self._start_over(view, view.fault)

    def _start_over(self, found: View, fault: Fault) -> None:
        """Begin a new epoch on a faulty log, unless another process just did."""
        with self._file.transaction("BEGIN IMMEDIATE") as connection:
            view = self._look(connection)
            if view.head.epoch == found.head.epoch:
                view = self._renew(connection, fault)
        if view.fault is None:
            self._view = view

    def _look(self, connection: sqlite3.Connection) -> View:
        state = connection.execute("SELECT epoch, inode FROM state").fetchone()
        if state is None:
            raise sqlite3.DatabaseError("malformed: the table state is empty")
        epoch, inode = state
        seen, past = self._view.head, self._view.past
        offset = queries.last_offset(connection)
        newest = connection.execute(
            "SELECT MAX(offset) FROM record WHERE offset > 0"
        ).fetchone()[0]
        fault = None
        # An offset that is lower than before, or an epoch that had ended, means that
        # the file was restored to an earlier state. Other processes that did not know
        # may have appended since. A newest row without the newest offset means that
        # SQLite mixed an older file with a newer write-ahead log.
        if (
            (epoch == seen.epoch and offset < seen.offset)
            or epoch in past
            or newest not in (None, offset)
        ):
            fault = Fault.LOSS
        # A copied file may be an old copy. An offset beyond MAX_OFFSET, which only
        # another program can write, leaves no room for the next cursor.
        elif inode != self._file.inode or offset > MAX_OFFSET:
            fault = Fault.SHORT
        if epoch != seen.epoch:
            past = queries.past(connection)
        return View(Cursor(epoch, offset), past, fault)

    def _renew(self, connection: sqlite3.Connection, fault: Fault) -> View:
        """Begin a new epoch. Ids of the old one stay valid up to the last offset.

        If records are missing, no earlier id stays valid, and the log begins empty:
        nothing in it could be resumed.
        """
        connection.execute("DELETE FROM record WHERE offset > ?", (MAX_OFFSET,))
        connection.execute(
            "UPDATE sqlite_sequence SET seq = (SELECT COALESCE(MAX(offset), 0)"
            " FROM record) WHERE name = 'record' AND seq > ?",
            (MAX_OFFSET,),
        )
        last = queries.last_offset(connection)
        if fault is Fault.LOSS or not queries.is_dense(connection, last):
            connection.execute("DELETE FROM record")
            connection.execute("DELETE FROM past")
            holes.forget_all(connection)
            short_lived.forget(connection, MAX_OFFSET)
            bounded.forget(connection, MAX_OFFSET)
            trimmed.forget(connection)
            kept.forget_beyond(connection, last)
        else:
            connection.execute(
                "INSERT OR REPLACE INTO past SELECT epoch, ? FROM state", (last,)
            )
        queries.forget_past(connection, before=trimmed.known_from(connection))
        epoch = new_epoch()
        connection.execute(
            "INSERT OR REPLACE INTO state SELECT 1, ?, ?, COUNT(*), TOTAL(size)"
            " FROM record WHERE size >= 0",
            (epoch, self._file.inode),
        )
        return View(Cursor(epoch, last), queries.past(connection))

    def _gap(
        self, connection: sqlite3.Connection, after: Cursor, view: View
    ) -> GapReason | None:
        head = view.head
        if after.epoch != head.epoch and after.offset > view.past.get(after.epoch, -1):
            return GapReason.EPOCH
        if after.offset > head.offset:
            return GapReason.AHEAD
        if after.offset < self._floor(connection, head):
            return GapReason.EXPIRED
        return None

    def _floor(self, connection: sqlite3.Connection, head: Cursor) -> int:
        """Return the offset after which all records are retained and young enough."""
        keep = self._retention or queries.retention(connection)
        first = connection.execute(
            "SELECT offset FROM record WHERE offset > 0 AND time >= ?"
            " ORDER BY offset LIMIT 1",
            (self._clock() - keep.seconds if keep else 0.0,),
        ).fetchone()
        if first is None:
            return head.offset
        return holes.before(connection, first[0] - 1)

    def _rows(
        self, connection: sqlite3.Connection, offset: int, head: Cursor
    ) -> list[tuple[int, float, bytes]]:
        """Return the next rows after an offset. Raises Hole if any is missing."""
        rows: list[tuple[int, float, bytes]] = []
        size = 0
        # As bytes: if another program wrote a body that is not text, SQLite would fail
        # on it, and the row could not be counted as malformed.
        query = (
            "SELECT offset, time, CAST(body AS BLOB) FROM record WHERE offset > ?"
            " ORDER BY offset LIMIT ?"
        )
        for row in connection.execute(query, (offset, _PAGE_ROWS)):
            rows.append(row)
            size += len(row[2])
            if size >= PAGE_BYTES:
                break
        # Each offset is given once, and rows are deleted from the oldest on, except for
        # noted holes. So offsets have no other holes, and the last row of the
        # log is at its head.
        last = rows[-1][0] if rows else offset
        is_end = len(rows) < _PAGE_ROWS and size < PAGE_BYTES
        missing = last - offset - len(rows)
        if missing and missing != holes.removed_between(connection, offset + 1, last):
            raise Hole
        if is_end and last != head.offset:
            raise Hole
        return rows


def _decoded(rows: Sequence[tuple[int, float, bytes]], epoch: str) -> Iterator[Record]:
    for offset, time, body in rows:
        with suppress(codec.Malformed):
            yield codec.decode(body, cursor=Cursor(epoch, offset), time=time)
