"""The log in an SQLite file: epochs, appending, reading and retention.

Knows the tables and their meaning. Does not know threads: every call may wait for the
disk, so callers run it in a real thread. One object is used by one thread.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from ...events.record import MAX_OFFSET, Cursor, GapReason, Record, Retention
from .. import codec
from ..base import IDEMPOTENCY_KEYS, IDEMPOTENCY_SECONDS, LogBatch, Replay
from .connection import LogConnection, new_epoch
from .membership import Membership

# How many rows one read returns. Decoding them takes 0.3 ms without a pause. A request
# that releases the interpreter to read or write may wait that long to go on.
_PAGE_ROWS = 50

# How many rows one transaction deletes: more than a group of appends adds, and few
# enough that a writer never holds the file for long.
_TRIM_ROWS = 500


class LogFile:
    """One connection to the file of a log."""

    def __init__(
        self, path: Path, retention: Retention | None, *, clock: Callable[[], float]
    ) -> None:
        self._file = LogConnection(path)
        #: The last offset of each earlier epoch whose ids are still valid.
        self.past: dict[str, int] = {}
        #: The newest cursor that this connection has seen.
        self.seen = Cursor("", 0)
        self._retention = retention
        self._clock = clock
        self._told: sqlite3.Connection | None = None
        self._is_copy = False

    def is_changed(self) -> bool:
        """Tell whether others wrote since the last call. Raises BrokerUnavailable."""
        return self._file.is_changed()

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        self._file.close()

    def join(self, membership: Membership) -> None:
        """Make this process a user of the file; the first user begins a new epoch.

        The file's write lock is held meanwhile, so that processes join one at a time.
        """
        try:
            with self._file.transaction("BEGIN IMMEDIATE") as connection:
                if membership.join():
                    self._renew(connection)
                self._tell_retention(connection)
        except BaseException:
            membership.leave()
            raise

    def _tell_retention(self, connection: sqlite3.Connection) -> None:
        """Note in the log how much of it to keep; a Publisher has no setting for it."""
        # Once per connection: after a reconnect, the path may lead to another file.
        if self._retention is not None and self._told is not connection:
            connection.execute(
                "INSERT OR REPLACE INTO retention VALUES (1, ?, ?, ?)",
                astuple(self._retention),
            )
            self._told = connection

    def append(self, records: Sequence[Record]) -> list[Cursor]:
        """Append records in one transaction; return the cursor of each.

        The records survive everything but a loss of power.
        """
        now = self._clock()
        cursors: list[Cursor] = []
        with self._file.transaction("BEGIN IMMEDIATE") as connection:
            self._tell_retention(connection)
            head = self._head(connection)
            if self._is_rolled_back(head):
                # The next offsets were already given, to records that are lost now.
                head = self._renew(connection)
            offset, size = head.offset, 0
            rows = []
            for record in records:
                cursor = self._known(connection, record.idempotency_key, now)
                if cursor is None:
                    offset += 1
                    cursor = Cursor(head.epoch, offset)
                    length = record.size
                    size += length
                    rows.append((offset, now, length, codec.encode(record)))
                    self._remember(connection, record.idempotency_key, cursor, now)
                cursors.append(cursor)
            # One call for all rows: a call per row costs twice as much.
            connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?)", rows)
            self._trim(connection, now, newest=offset, events=len(rows), size=size)
            self._forget_keys(connection, now)
        self.seen = Cursor(head.epoch, offset)
        return cursors

    def read(self, after: Cursor) -> LogBatch:
        """Return the next records after a cursor, or the gap if there is one."""
        with self._file.transaction("BEGIN") as connection:
            head = self._head(connection)
            rolled_back = self._is_rolled_back(head)
            if not rolled_back:
                gap = self._gap(connection, after, head)
                if gap is not None:
                    self.seen = head
                    return LogBatch((), head, gap)
                rows = self._rows(connection, after.offset)
        if rolled_back:
            self._start_over()
            return self.read(after)
        records = tuple(_decoded(rows, head.epoch))
        self.seen = Cursor(head.epoch, rows[-1][0]) if rows else head
        return LogBatch(records, self.seen, malformed=len(rows) - len(records))

    def replay(self, after: Cursor, *, page: int) -> Replay:
        """Return up to ``page`` records after a cursor."""
        found: list[Record] = []
        with self._file.transaction("BEGIN") as connection:
            head = self._head(connection)
            gap = self._gap(connection, after, head)
            if gap is not None:
                return Replay((), head, gap)
            offset = after.offset
            while rows := self._rows(connection, offset):
                for record in _decoded(rows, head.epoch):
                    found.append(record)
                    if len(found) == page:
                        return Replay(tuple(found), record.cursor)
                offset = rows[-1][0]
        return Replay(tuple(found), head)

    def head(self) -> Cursor:
        """Return the cursor of the newest record."""
        with self._file.transaction("BEGIN") as connection:
            head = self._head(connection)
            rolled_back = self._is_rolled_back(head)
        if rolled_back:
            self._start_over()
            return self.head()
        return head

    def tail(self, max_bytes: int) -> Cursor:
        """Return the cursor after which about ``max_bytes`` of the log remain."""
        with self._file.transaction("BEGIN") as connection:
            head = self._head(connection)
            offset = head.offset
            floor = self._floor(connection, head)
            size = 0
            for row in connection.execute(
                # Another program may have written a row whose size is not a number.
                "SELECT offset, MAX(0, CAST(size AS INTEGER)) FROM record"
                " WHERE offset > ? ORDER BY offset DESC",
                (floor,),
            ):
                size += row[1]
                if size > max_bytes:
                    break
                offset = row[0] - 1
            return Cursor(head.epoch, offset)

    def _start_over(self) -> None:
        """Begin a new epoch on a rolled-back log, unless another process just did."""
        with self._file.transaction("BEGIN IMMEDIATE") as connection:
            if self._is_rolled_back(self._head(connection)):
                self._renew(connection)

    def _is_rolled_back(self, head: Cursor) -> bool:
        """Tell whether the log may have lost records and so needs a new epoch."""
        # A copied file may be an old copy. An offset that is lower than before means
        # that the file was restored to an earlier state. An offset beyond MAX_OFFSET,
        # which only another program can write, leaves no room for the next cursor.
        return (
            self._is_copy
            or head.offset > MAX_OFFSET
            or (head.epoch == self.seen.epoch and head.offset < self.seen.offset)
        )

    def _head(self, connection: sqlite3.Connection) -> Cursor:
        state = connection.execute("SELECT epoch, inode FROM state").fetchone()
        if state is None:
            raise sqlite3.DatabaseError("malformed: the table state is empty")
        epoch, inode = state
        self._is_copy = inode != self._file.inode
        if epoch != self.seen.epoch:
            self.past = dict(connection.execute("SELECT epoch, last FROM past"))
            self.seen = Cursor(epoch, 0)
        return Cursor(epoch, _last_offset(connection))

    def _renew(self, connection: sqlite3.Connection) -> Cursor:
        """Begin a new epoch. Ids of the old one stay valid up to the last offset."""
        connection.execute("DELETE FROM record WHERE offset > ?", (MAX_OFFSET,))
        connection.execute(
            "UPDATE sqlite_sequence SET seq = (SELECT COALESCE(MAX(offset), 0)"
            " FROM record) WHERE name = 'record' AND seq > ?",
            (MAX_OFFSET,),
        )
        last = _last_offset(connection)
        connection.execute(
            "INSERT OR REPLACE INTO past SELECT epoch, ? FROM state", (last,)
        )
        # Forget each epoch that ended before the oldest retained record: its ids are
        # expired in any case.
        connection.execute(
            "DELETE FROM past WHERE last < (SELECT MIN(offset) - 1 FROM record)"
        )
        epoch = new_epoch()
        connection.execute(
            "INSERT OR REPLACE INTO state SELECT 1, ?, ?, COUNT(*), TOTAL(size)"
            " FROM record",
            (epoch, self._file.inode),
        )
        self._is_copy = False
        self.past = dict(connection.execute("SELECT epoch, last FROM past"))
        self.seen = Cursor(epoch, last)
        return self.seen

    def _gap(
        self, connection: sqlite3.Connection, after: Cursor, head: Cursor
    ) -> GapReason | None:
        if after.epoch != head.epoch and after.offset > self.past.get(after.epoch, -1):
            return GapReason.EPOCH
        if after.offset > head.offset:
            return GapReason.AHEAD
        if after.offset < self._floor(connection, head):
            return GapReason.EXPIRED
        return None

    def _floor(self, connection: sqlite3.Connection, head: Cursor) -> int:
        """Return the offset after which all records are retained and young enough."""
        keep = self._retention or _retention(connection)
        first = connection.execute(
            "SELECT offset FROM record WHERE offset > 0 AND time >= ?"
            " ORDER BY offset LIMIT 1",
            (self._clock() - keep.seconds if keep else 0.0,),
        ).fetchone()
        return first[0] - 1 if first else head.offset

    def _rows(
        self, connection: sqlite3.Connection, offset: int
    ) -> list[tuple[int, float, bytes]]:
        return connection.execute(
            # As bytes: if another program wrote a body that is not text, SQLite would
            # fail on it, and the row could not be counted as malformed.
            "SELECT offset, time, CAST(body AS BLOB) FROM record WHERE offset > ?"
            " ORDER BY offset LIMIT ?",
            (offset, _PAGE_ROWS),
        ).fetchall()

    def _known(
        self, connection: sqlite3.Connection, key: str | None, now: float
    ) -> Cursor | None:
        if key is None:
            return None
        row = connection.execute(
            "SELECT cursor FROM idempotency_key WHERE key = ? AND expires > ?",
            (key, now),
        ).fetchone()
        return row and Cursor.parse(row[0])

    def _remember(
        self,
        connection: sqlite3.Connection,
        key: str | None,
        cursor: Cursor,
        now: float,
    ) -> None:
        if key is not None:
            connection.execute(
                "INSERT OR REPLACE INTO idempotency_key VALUES (NULL, ?, ?, ?)",
                (key, str(cursor), now + IDEMPOTENCY_SECONDS),
            )

    def _forget_keys(self, connection: sqlite3.Connection, now: float) -> None:
        """Delete the oldest keys, if they have expired or there are too many."""
        newest = connection.execute(
            "SELECT MAX(number) FROM idempotency_key"
        ).fetchone()[0]
        last = None
        oldest = connection.execute(
            "SELECT number, expires FROM idempotency_key ORDER BY number LIMIT ?",
            (_TRIM_ROWS,),
        )
        for number, expires in oldest:
            if expires > now and number > newest - IDEMPOTENCY_KEYS:
                break
            last = number
        if last is not None:
            connection.execute("DELETE FROM idempotency_key WHERE number <= ?", (last,))

    def _trim(
        self,
        connection: sqlite3.Connection,
        now: float,
        *,
        newest: int,
        events: int,
        size: int,
    ) -> None:
        """Count the appended records, and delete the oldest beyond retention."""
        keep = self._retention or _retention(connection)
        held = connection.execute("SELECT events, bytes FROM state").fetchone()
        events += held[0]
        size += held[1]
        last = None
        oldest = connection.execute(
            "SELECT offset, CAST(time AS REAL), MAX(0, CAST(size AS INTEGER))"
            " FROM record ORDER BY offset LIMIT ?",
            (_TRIM_ROWS,),
        )
        for offset, time, length in oldest:
            # The newest record is kept even if it alone exceeds the bytes: followers
            # have not read it yet.
            if keep is None or not keep.exceeded(
                events=events,
                bytes=size if offset < newest else 0,
                oldest=time,
                now=now,
            ):
                break
            last = offset
            events -= 1
            size -= length
        if last is not None:
            connection.execute("DELETE FROM record WHERE offset <= ?", (last,))
        # The counts may fall below zero: rows of other programs were never counted, but
        # their deletion is.
        connection.execute(
            "UPDATE state SET events = ?, bytes = ?", (max(0, events), max(0, size))
        )


def _decoded(rows: Sequence[tuple[int, float, bytes]], epoch: str) -> Iterator[Record]:
    for offset, time, body in rows:
        with suppress(codec.Malformed):
            yield codec.decode(body, cursor=Cursor(epoch, offset), time=time)


def _retention(connection: sqlite3.Connection) -> Retention | None:
    row = connection.execute("SELECT events, seconds, bytes FROM retention").fetchone()
    return row and Retention(*row)


def _last_offset(connection: sqlite3.Connection) -> int:
    row = connection.execute(
        "SELECT seq FROM sqlite_sequence WHERE name = 'record'"
    ).fetchone()
    return row[0] if row else 0
