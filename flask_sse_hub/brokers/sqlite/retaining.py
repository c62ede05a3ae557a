"""Retention of an SQLite log: the count of its records, and the trim of the oldest.

Knows the tables. Every caller is in a transaction.
"""

import sqlite3

from ...events.address import Address
from ...events.record import Retention
from .. import codec
from . import control, queries, trimmed

# How many rows one transaction deletes: more than a group of appends adds, and few
# enough that a writer never holds the file for long.
_TRIM_ROWS = 500


def trim(
    connection: sqlite3.Connection,
    retention: Retention | None,
    now: float,
    *,
    newest: int,
    events: int = 0,
    size: int = 0,
) -> bool:
    """Count the appended events, and delete the oldest beyond retention.

    Control records before them are deleted with them. Without a retention, the one in
    the log counts. Returns whether more records may have to be deleted.
    """
    keep = retention or queries.retention(connection)
    held = connection.execute("SELECT events, bytes FROM state").fetchone()
    events += held[0]
    size += held[1]
    gone: list[int] = []
    last: dict[Address, int] = {}
    for offset, time, length, head, is_control in queries.oldest(
        connection, _TRIM_ROWS
    ):
        # The newest event is kept even if it alone exceeds the bytes: followers have
        # not read it yet.
        if keep is None or not keep.exceeded(
            events=events,
            bytes=size if offset < newest and events > 1 else 0,
            oldest=time,
            now=now,
        ):
            break
        gone.append(offset)
        last.update(dict.fromkeys(codec.event_addresses(head), offset))
        events -= not is_control
        size -= length
    if gone:
        connection.execute("DELETE FROM record WHERE offset <= ?", (gone[-1],))
        before = control.before_hole(connection, gone[0] - 1)
        trimmed.add(connection, last, before=before, upto=gone[-1])
        control.forget(connection, gone[-1])
    # The counts may fall below zero: rows of other programs were never counted, but
    # their deletion is.
    connection.execute(
        "UPDATE state SET events = ?, bytes = ?", (max(0, events), max(0, size))
    )
    return len(gone) == _TRIM_ROWS
