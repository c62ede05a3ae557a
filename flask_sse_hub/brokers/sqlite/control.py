"""The control records in an SQLite log, which have a bound of their own.

A control record is a row whose size is negative. The oldest one is removed from between
events when there are too many, and the table ``removed`` notes the holes, so that a
hole proves no loss. Knows that table. The caller is in a transaction.
"""

import sqlite3

from ..base import CONTROL_RECORDS

#: The size in the row of a control record.
SIZE = -1


def trim(connection: sqlite3.Connection) -> None:
    """Remove the oldest control records beyond CONTROL_RECORDS, but not the newest."""
    held = connection.execute("SELECT COUNT(*) FROM record WHERE size < 0").fetchone()
    excess = held[0] - max(CONTROL_RECORDS, 1)
    if excess <= 0:
        return
    oldest = connection.execute(
        "SELECT offset FROM record WHERE size < 0 ORDER BY offset LIMIT ?", (excess,)
    ).fetchall()
    connection.executemany("DELETE FROM record WHERE offset = ?", oldest)
    for (offset,) in oldest:
        # Holes side by side are one row. There are thus fewer rows than events.
        extended = connection.execute(
            "UPDATE removed SET last = :offset"
            " WHERE first = (SELECT MAX(first) FROM removed) AND last = :offset - 1",
            {"offset": offset},
        )
        if not extended.rowcount:
            connection.execute("INSERT INTO removed VALUES (?, ?)", (offset, offset))


def forget(connection: sqlite3.Connection, upto: int) -> None:
    """Forget the holes before the oldest record, which is after this offset."""
    connection.execute("DELETE FROM removed WHERE last <= ?", (upto,))


def removed_between(connection: sqlite3.Connection, first: int, last: int) -> int:
    """Return how many control records were removed from first to last, inclusively."""
    row = connection.execute(
        "SELECT TOTAL(MIN(last, :last) - MAX(first, :first) + 1) FROM removed"
        " WHERE first <= :last AND last >= :first",
        {"first": first, "last": last},
    ).fetchone()
    return int(row[0])


def floor(connection: sqlite3.Connection) -> int:
    """Return the offset after which no control record was removed, 0 if none was."""
    row = connection.execute(
        "SELECT last FROM removed ORDER BY first DESC LIMIT 1"
    ).fetchone()
    return row[0] if row else 0


def before_hole(connection: sqlite3.Connection, offset: int) -> int:
    """Return the offset before the hole that ends at an offset; it is a good cursor."""
    first, last = connection.execute(
        "SELECT first, last FROM removed WHERE first <= ? ORDER BY first DESC LIMIT 1",
        (offset,),
    ).fetchone() or (0, 0)
    return first - 1 if last == offset > 0 else offset
