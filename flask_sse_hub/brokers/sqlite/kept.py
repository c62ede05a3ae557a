"""The state in an SQLite log: the newest record of each address and key.

Knows the tables of the state. Every caller is in a transaction. A state belongs to the
file and not to an epoch: it outlives all records.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress

from ...events.address import Address
from ...events.record import Cursor, Record, Retention, ending
from .. import codec
from ..base import check_room

# How many values one transaction ends: more than a group of appends adds.
_END_ROWS = 500


def keep(
    connection: sqlite3.Connection,
    record: Record,
    body: str,
    *,
    offset: int,
    time: float,
    retention: Retention | None,
) -> None:
    """Note what a record that is appended does to the state. Raises StateFull.

    Without a retention, the bounds in the log count.
    """
    if record.key is None:
        return
    _end(connection, time)
    bounds = retention or _bounds(connection)
    pairs = [(each, record.key) for each in record.addresses]
    keys, size = connection.execute("SELECT keys, bytes FROM keeping").fetchone()
    for pair in pairs:
        held = connection.execute(
            "SELECT size FROM kept WHERE address = ? AND key = ?", pair
        ).fetchone()
        if held is not None:
            keys -= 1
            size -= held[0]
    connection.executemany("DELETE FROM kept_ends WHERE address = ? AND key = ?", pairs)
    if not record.sets_state:
        connection.executemany("DELETE FROM kept WHERE address = ? AND key = ?", pairs)
    else:
        length = record.kept_size
        keys += len(pairs)
        size += length * len(pairs)
        check_room(bounds, keys=keys, size=size)
        connection.executemany(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?)",
            [(*pair, offset, time, length, body) for pair in pairs],
        )
        if record.ttl is not None:
            ends = ending(time, record.ttl)
            connection.executemany(
                "INSERT INTO kept_ends VALUES (?, ?, ?, ?)",
                [(*pair, offset, ends) for pair in pairs],
            )
    connection.execute("UPDATE keeping SET keys = ?, bytes = ?", (keys, size))


def _end(connection: sqlite3.Connection, now: float) -> None:
    """Remove the values whose time is over."""
    over = connection.execute(
        "SELECT address, key, offset FROM kept_ends WHERE ends <= ? LIMIT ?",
        (now, _END_ROWS),
    ).fetchall()
    for address, key, offset in over:
        value = (address, key, offset)
        # A process with an earlier version may have set another value.
        held = connection.execute(
            "SELECT size FROM kept WHERE address = ? AND key = ? AND offset = ?", value
        ).fetchone()
        if held is not None:
            connection.execute(
                "DELETE FROM kept WHERE address = ? AND key = ?", value[:2]
            )
            connection.execute(
                "UPDATE keeping SET keys = keys - 1, bytes = bytes - ?", held
            )
        connection.execute(
            "DELETE FROM kept_ends WHERE address = ? AND key = ?", value[:2]
        )


def records(connection: sqlite3.Connection, epoch: str) -> Iterator[Record]:
    """Yield each kept record, with its one address, in log order."""
    rows = connection.execute(
        "SELECT address, offset, time, CAST(body AS BLOB) FROM kept ORDER BY offset"
    )
    for address, offset, time, body in rows:
        with suppress(codec.Malformed):
            record = codec.decode(body, cursor=Cursor(epoch, offset), time=time)
            yield record.kept_at(Address(address))


def tell_bounds(connection: sqlite3.Connection, retention: Retention) -> None:
    """Note in the log how much state to keep; a Publisher has no setting for it."""
    connection.execute(
        "UPDATE keeping SET most_keys = ?, most_bytes = ?",
        (retention.state_keys, retention.state_bytes),
    )


def forget_beyond(connection: sqlite3.Connection, last: int) -> None:
    """Forget the records after an offset, which the log has lost."""
    connection.execute("DELETE FROM kept WHERE offset > ?", (last,))
    connection.execute(
        "UPDATE keeping SET (keys, bytes) = (SELECT COUNT(*), TOTAL(size) FROM kept)"
    )


def _bounds(connection: sqlite3.Connection) -> Retention | None:
    keys, size = connection.execute(
        "SELECT most_keys, most_bytes FROM keeping"
    ).fetchone()
    if keys is None:
        return None
    return Retention(0, 0.0, 0, state_keys=keys, state_bytes=size)
