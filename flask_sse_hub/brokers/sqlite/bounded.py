"""The records with bounds of their channels in an SQLite log.

Such a record is a row with the size SIZE. The table ``bounded`` has its channel, its
time and its real size. It is removed from between events when its channel has newer
ones enough, and ``holes`` notes the hole. Knows that table. The caller is in a
transaction.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from ...events.address import Address
from ...events.record import ChannelBounds, Record, Retention
from ..base import CHANNEL_SECONDS
from . import holes, trimmed

#: The size in the row of a record with bounds.
SIZE = -3

# How many records one transaction removes for each channel, and in all: more than a
# group of appends adds, and few enough that a writer never holds the file for long.
_TRIM_ROWS = 500


def add(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    """Note records that are appended, with their cursors and times."""
    connection.executemany(
        "INSERT OR REPLACE INTO bounded VALUES (?, ?, ?, ?)",
        [
            (each.cursor.offset, each.addresses[0], each.time, each.size)
            for each in records
        ],
    )
    if records:
        _count(connection, len(records), sum(each.size for each in records))


def trim(
    connection: sqlite3.Connection,
    keep: Retention | None,
    new: Sequence[Record],
    now: float,
) -> None:
    """Remove the oldest records of the channels of new ones, and the oldest of all.

    A channel has the bounds of its newest record. The new records stay, if they are not
    too many: followers have not read them yet.
    """
    if not new:
        return
    newest = new[0].cursor.offset
    for address, bounds in {each.addresses[0]: each.bounds for each in new}.items():
        if bounds is not None:
            _remove(connection, _beyond(connection, address, bounds, now))
    if keep is not None:
        count, size = _counts(connection)
        oldest = connection.execute(
            "SELECT offset, address, size FROM bounded WHERE offset < ?"
            " ORDER BY offset LIMIT ?",
            (newest, _TRIM_ROWS if count > keep.events or size > keep.bytes else 0),
        )
        gone = []
        for offset, address, length in oldest.fetchall():
            if count <= keep.events and size <= keep.bytes:
                break
            count -= 1
            size -= length
            gone.append((offset, address, length))
        _remove(connection, gone)


def forget(connection: sqlite3.Connection, upto: int) -> None:
    """Forget the records up to an offset, which have left the log."""
    count, size = connection.execute(
        "SELECT COUNT(*), TOTAL(size) FROM bounded WHERE offset <= ?", (upto,)
    ).fetchone()
    if count:
        connection.execute("DELETE FROM bounded WHERE offset <= ?", (upto,))
        _count(connection, -count, -int(size))


def _beyond(
    connection: sqlite3.Connection, address: Address, bounds: ChannelBounds, now: float
) -> list[tuple[int, Address, int]]:
    """Return the oldest records of a channel that its bounds do not keep."""
    (held,) = connection.execute(
        "SELECT COUNT(*) FROM bounded WHERE address = ?", (address,)
    ).fetchone()
    excess = bounds.excess(held)
    rows = connection.execute(
        "SELECT offset, address, size, time FROM bounded"
        " WHERE address = ? AND time <= ? ORDER BY offset LIMIT ?",
        (address, now - CHANNEL_SECONDS, _TRIM_ROWS),
    )
    # The newest record of a channel stays: the log may end with it.
    return [
        (offset, name, size)
        for at, (offset, name, size, time) in enumerate(rows.fetchall())
        if at < held - 1 and (at < excess or time < bounds.oldest(now))
    ]


def _remove(
    connection: sqlite3.Connection, gone: Iterable[tuple[int, Address, int]]
) -> None:
    last: dict[Address, int] = {}
    missed = 0
    for offset, address, size in gone:
        removed = connection.execute(
            "DELETE FROM record WHERE offset = ? AND size = ?", (offset, SIZE)
        )
        if removed.rowcount:
            holes.add(connection, offset)
        connection.execute("DELETE FROM bounded WHERE offset = ?", (offset,))
        _count(connection, -1, -size)
        last[address] = offset
        missed = max(missed, offset)
    if missed:
        holes.note_missed(connection, missed)
        trimmed.note(connection, last)


def _counts(connection: sqlite3.Connection) -> tuple[int, int]:
    row = connection.execute("SELECT count, bytes FROM bounding").fetchone()
    return row[0], row[1]


def _count(connection: sqlite3.Connection, count: int, size: int) -> None:
    connection.execute(
        "UPDATE bounding SET count = count + ?, bytes = bytes + ?", (count, size)
    )
