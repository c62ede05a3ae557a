"""Retention of an SQLite log: the count of its records, and the trim of the oldest.

Knows the tables. Every caller is in a transaction.
"""

import sqlite3
from collections.abc import Sequence

from ...events.address import Address
from ...events.record import Record, Retention
from .. import codec
from . import bounded, control, holes, queries, short_lived, trimmed

# How many rows one transaction deletes: more than a group of appends adds, and few
# enough that a writer never holds the file for long.
_TRIM_ROWS = 500


def row_size(record: Record) -> int:
    """Return the size in the row of a record; it is negative if it does not count."""
    if record.ttl is not None:
        return short_lived.SIZE
    if record.bounds is not None:
        return bounded.SIZE
    return control.SIZE if record.is_control else record.size


def trim(
    connection: sqlite3.Connection,
    retention: Retention | None,
    now: float,
    *,
    newest: int,
    new: Sequence[Record] = (),
) -> bool:
    """Count the new records, and delete the oldest beyond retention.

    Control records and short-lived ones before them are deleted with them. Without a
    retention, the one in the log counts. Returns whether more records may have to be
    deleted.
    """
    if any(record.is_control for record in new):
        control.trim(connection)
    short_lived.add(connection, [each for each in new if each.ttl is not None])
    short_lived.trim(connection, now, newest=newest)
    keep = retention or queries.retention(connection)
    with_bounds = [each for each in new if row_size(each) == bounded.SIZE]
    bounded.add(connection, with_bounds)
    bounded.trim(connection, keep, with_bounds, now)
    events, size = connection.execute("SELECT events, bytes FROM state").fetchone()
    counted = [each.size for each in new if row_size(each) >= 0]
    events += len(counted)
    size += sum(counted)
    gone: list[int] = []
    last: dict[Address, int] = {}
    for offset, time, length, head, is_apart in queries.oldest(connection, _TRIM_ROWS):
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
        last.update(
            dict.fromkeys(codec.addresses_that_lose(head, age=now - time), offset)
        )
        events -= not is_apart
        size -= length
    if gone:
        connection.execute("DELETE FROM record WHERE offset <= ?", (gone[-1],))
        before = holes.before(connection, gone[0] - 1)
        trimmed.add(connection, last, before=before, upto=gone[-1])
        holes.forget(connection, gone[-1])
        short_lived.forget(connection, gone[-1])
        bounded.forget(connection, gone[-1])
    # The counts may fall below zero: rows of other programs were never counted, but
    # their deletion is.
    connection.execute(
        "UPDATE state SET events = ?, bytes = ?", (max(0, events), max(0, size))
    )
    return len(gone) == _TRIM_ROWS
