"""The control records in an SQLite log, which have a bound of their own.

A control record is a row with the size SIZE. The oldest one is removed from between
events when there are too many. The caller is in a transaction.
"""

import sqlite3

from ..base import CONTROL_RECORDS
from . import holes

#: The size in the row of a control record.
SIZE = -1


def trim(connection: sqlite3.Connection) -> None:
    """Remove the oldest control records beyond CONTROL_RECORDS, but not the newest."""
    held = connection.execute("SELECT COUNT(*) FROM record WHERE size = -1").fetchone()
    excess = held[0] - max(CONTROL_RECORDS, 1)
    if excess <= 0:
        return
    oldest = connection.execute(
        "SELECT offset FROM record WHERE size = -1 ORDER BY offset LIMIT ?", (excess,)
    ).fetchall()
    connection.executemany("DELETE FROM record WHERE offset = ?", oldest)
    for (offset,) in oldest:
        holes.add(connection, offset)
        holes.note_missed(connection, offset)
