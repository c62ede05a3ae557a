"""The records with a ttl in an SQLite log, which have bounds of their own.

A short-lived record is a row with the size SIZE. The table ``short_lived`` has its end
and its real size. It is removed from between events when its time is over, and
``holes`` notes the hole. Knows that table. The caller is in a transaction.
"""

import sqlite3
from collections.abc import Sequence

from ...events.address import Address
from ...events.record import Record
from .. import codec
from ..base import SHORT_LIVED_BYTES, SHORT_LIVED_RECORDS
from . import holes, trimmed

#: The size in the row of a short-lived record.
SIZE = -2

# How many records one transaction removes for each of the two reasons: more than a
# group of appends adds, and few enough that a writer never holds the file for long.
_TRIM_ROWS = 500


def add(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    """Note records that are appended, with their cursors and times."""
    connection.executemany(
        "INSERT OR REPLACE INTO short_lived VALUES (?, ?, ?)",
        [(each.cursor.offset, each.ends, each.size) for each in records],
    )
    if records:
        _count(connection, len(records), sum(each.size for each in records))


def trim(connection: sqlite3.Connection, now: float, *, newest: int) -> None:
    """Remove the records whose time is over, and the oldest beyond the bounds.

    The record with the offset ``newest`` stays, since the log ends with it.
    """
    count, size = _counts(connection)
    if not count:
        return
    over = connection.execute(
        "SELECT offset FROM short_lived WHERE ends <= ? AND offset < ? LIMIT ?",
        (now, newest, _TRIM_ROWS),
    ).fetchall()
    for (offset,) in over:
        _remove(connection, offset)
    count, size = _counts(connection)
    if count > SHORT_LIVED_RECORDS or size > SHORT_LIVED_BYTES:
        _trim_oldest(connection, now, newest=newest)


def _trim_oldest(connection: sqlite3.Connection, now: float, *, newest: int) -> None:
    last: dict[Address, int] = {}
    missed = 0
    count, size = _counts(connection)
    oldest = connection.execute(
        "SELECT offset, short_lived.size, COALESCE(CAST(time AS REAL), 0.0),"
        " CAST(substr(body, 1, instr(body, char(10))) AS BLOB)"
        " FROM short_lived LEFT JOIN record USING (offset)"
        " WHERE offset < ? ORDER BY offset LIMIT ?",
        (newest, _TRIM_ROWS),
    ).fetchall()
    for offset, length, time, head in oldest:
        if count <= SHORT_LIVED_RECORDS and size <= SHORT_LIVED_BYTES:
            break
        count -= 1
        size -= length
        _remove(connection, offset)
        # A process with an earlier version may have removed the record.
        lost = codec.addresses_that_lose(head or b"", age=now - time)
        if lost:
            missed = offset
            last.update(dict.fromkeys(lost, offset))
    if missed:
        holes.note_missed(connection, missed)
        trimmed.note(connection, last)


def forget(connection: sqlite3.Connection, upto: int) -> None:
    """Forget the records up to an offset, which have left the log."""
    gone = connection.execute(
        "SELECT COUNT(*), TOTAL(size) FROM short_lived WHERE offset <= ?", (upto,)
    ).fetchone()
    if gone[0]:
        connection.execute("DELETE FROM short_lived WHERE offset <= ?", (upto,))
        _count(connection, -gone[0], -int(gone[1]))


def _remove(connection: sqlite3.Connection, offset: int) -> None:
    removed = connection.execute(
        "DELETE FROM record WHERE offset = ? AND size = ?", (offset, SIZE)
    )
    if removed.rowcount:
        holes.add(connection, offset)
    (size,) = connection.execute(
        "SELECT size FROM short_lived WHERE offset = ?", (offset,)
    ).fetchone()
    connection.execute("DELETE FROM short_lived WHERE offset = ?", (offset,))
    _count(connection, -1, -size)


def _counts(connection: sqlite3.Connection) -> tuple[int, int]:
    row = connection.execute("SELECT count, bytes FROM living").fetchone()
    return row[0], row[1]


def _count(connection: sqlite3.Connection, count: int, size: int) -> None:
    connection.execute(
        "UPDATE living SET count = count + ?, bytes = bytes + ?", (count, size)
    )
