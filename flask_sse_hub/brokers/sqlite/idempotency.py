"""The idempotency keys in an SQLite log: the cursor that each recent key stands for.

Knows the table of keys. The caller's transaction also appends the records. Does not
know records.
"""

import sqlite3

from ...events.record import Cursor
from ..base import IDEMPOTENCY_KEYS, IDEMPOTENCY_SECONDS

# How many keys one transaction deletes: more than a group of appends adds, and few
# enough that a writer never holds the file for long.
_TRIM_ROWS = 500


def known(connection: sqlite3.Connection, key: str | None, now: float) -> Cursor | None:
    """Return the cursor of the first record with this key, None for a new key."""
    if key is None:
        return None
    row = connection.execute(
        "SELECT cursor FROM idempotency_key WHERE key = ? AND expires > ?",
        (key, now),
    ).fetchone()
    return row and Cursor.parse(row[0])


def remember(
    connection: sqlite3.Connection, key: str | None, cursor: Cursor, now: float
) -> None:
    """Note that a record with this key, if it has one, was appended."""
    if key is not None:
        connection.execute(
            "INSERT OR REPLACE INTO idempotency_key VALUES (NULL, ?, ?, ?)",
            (key, str(cursor), now + IDEMPOTENCY_SECONDS),
        )


def forget_old(connection: sqlite3.Connection, now: float) -> None:
    """Delete the oldest keys, if they have expired or there are too many."""
    newest = connection.execute("SELECT MAX(number) FROM idempotency_key").fetchone()[0]
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
