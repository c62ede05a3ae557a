"""The holes in an SQLite log: records that were removed from between others.

Control records and short-lived records have bounds of their own. The table ``removed``
notes where they were, so that a hole proves no loss. Knows that table. The caller is in
a transaction.
"""

import sqlite3


def add(connection: sqlite3.Connection, offset: int) -> None:
    """Note that the record with an offset was removed."""
    # Holes side by side are one row. There are thus fewer rows than events.
    first, last = offset, offset
    before = connection.execute(
        "SELECT first, last FROM removed WHERE first < ? ORDER BY first DESC LIMIT 1",
        (offset,),
    ).fetchone()
    if before and before[1] == offset - 1:
        first = before[0]
    after = connection.execute(
        "SELECT first, last FROM removed WHERE first = ?", (offset + 1,)
    ).fetchone()
    if after:
        last = after[1]
        connection.execute("DELETE FROM removed WHERE first = ?", (offset + 1,))
    connection.execute("INSERT OR REPLACE INTO removed VALUES (?, ?)", (first, last))


def note_missed(connection: sqlite3.Connection, offset: int) -> None:
    """Note that a record was removed which a follower must not miss."""
    connection.execute("UPDATE living SET missed = MAX(missed, ?)", (offset,))


def missed(connection: sqlite3.Connection) -> int:
    """Return the offset after which a follower misses nothing by the holes."""
    (offset,) = connection.execute("SELECT missed FROM living").fetchone()
    return int(offset)


def forget(connection: sqlite3.Connection, upto: int) -> None:
    """Forget the holes before the oldest record, which is after this offset."""
    connection.execute("DELETE FROM removed WHERE last <= ?", (upto,))


def forget_all(connection: sqlite3.Connection) -> None:
    """Forget all holes: they belong to records of another log."""
    connection.execute("DELETE FROM removed")
    connection.execute("UPDATE living SET missed = 0")


def removed_between(connection: sqlite3.Connection, first: int, last: int) -> int:
    """Return how many records were removed from first to last, inclusively."""
    row = connection.execute(
        "SELECT TOTAL(MIN(last, :last) - MAX(first, :first) + 1) FROM removed"
        " WHERE first <= :last AND last >= :first",
        {"first": first, "last": last},
    ).fetchone()
    return int(row[0])


def before(connection: sqlite3.Connection, offset: int) -> int:
    """Return the offset before the hole that ends at an offset; it is a good cursor."""
    first, last = connection.execute(
        "SELECT first, last FROM removed WHERE first <= ? ORDER BY first DESC LIMIT 1",
        (offset,),
    ).fetchone() or (0, 0)
    return first - 1 if last == offset > 0 else offset
