"""Questions to the tables of a log, each answered by one statement.

Does not know epochs, cursors or transactions: callers are in one.
"""

import sqlite3
from collections.abc import Iterable

from ...events.record import Retention
from . import holes

# How many earlier epochs have valid ids: each start of an app begins one.
_MOST_EPOCHS = 1_000


def retention(connection: sqlite3.Connection) -> Retention | None:
    """Return how much of the log is kept, None if no app has begun it."""
    row = connection.execute("SELECT events, seconds, bytes FROM retention").fetchone()
    return row and Retention(*row)


def is_dense(connection: sqlite3.Connection, last: int) -> bool:
    """Tell whether each record from the oldest one to the last offset is there."""
    count, first, newest = connection.execute(
        "SELECT COUNT(*), MIN(offset), MAX(offset) FROM record WHERE offset > 0"
    ).fetchone()
    if count == 0:
        return True
    count += holes.removed_between(connection, first, last)
    return bool(newest == last and count == last - first + 1)


def past(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the last offset of each earlier epoch whose ids are still valid."""
    return dict(connection.execute("SELECT epoch, last FROM past"))


def forget_past(connection: sqlite3.Connection, *, before: int) -> None:
    """Forget the epochs that ended before an offset, and all but the newest.

    An id of an older epoch is expired in any case.
    """
    connection.execute("DELETE FROM past WHERE last < ?", (before,))
    connection.execute(
        "DELETE FROM past WHERE rowid <= (SELECT MAX(rowid) FROM past) - ?",
        (_MOST_EPOCHS,),
    )


def oldest(
    connection: sqlite3.Connection, most: int
) -> Iterable[tuple[int, float, int, bytes, int]]:
    """Return the offset, time, size, head and kind of the oldest records.

    The kind is 0 for an event without a ttl. The values of rows that another program
    wrote may have had other types.
    """
    return connection.execute(
        "SELECT offset, CAST(time AS REAL), MAX(0, CAST(size AS INTEGER)),"
        " CAST(substr(body, 1, instr(body, char(10))) AS BLOB), size < 0"
        " FROM record ORDER BY offset LIMIT ?",
        (most,),
    )


def last_offset(connection: sqlite3.Connection) -> int:
    """Return the newest offset that was ever given, 0 if there was none."""
    row = connection.execute(
        "SELECT seq FROM sqlite_sequence WHERE name = 'record'"
    ).fetchone()
    return row[0] if row else 0


def tail(
    connection: sqlite3.Connection, offset: int, floor: int, max_bytes: int
) -> int:
    """Return the offset after which about ``max_bytes`` remain, up to an offset.

    It is not before the floor, and no record after it is missing but in a noted hole.
    """
    size = 0
    for row in connection.execute(
        # Another program may have written a row whose size is not a number.
        "SELECT offset, MAX(0, CAST(size AS INTEGER)) FROM record"
        " WHERE offset > ? ORDER BY offset DESC",
        (floor,),
    ):
        hole = offset - row[0]
        if hole and hole != holes.removed_between(connection, row[0] + 1, offset):
            # Before a loss there is nothing that a client could resume from.
            break
        offset = row[0]
        size += row[1]
        if size > max_bytes:
            break
        offset -= 1
    return offset
