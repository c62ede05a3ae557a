"""The notes of an SQLite log about its trimmed records: how far, for each address.

Knows the tables of notes. ``events.trimming`` has the rule. Every caller is in a
transaction.

A process with an earlier version of this package trims without a note. So the notes
name the last offset that was trimmed with one: if the oldest record does not follow it,
nothing is known of the records before that one.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from ...events.address import Address
from ...events.channel_patterns import is_pattern_address, range_below
from ...events.trimming import NOTED_ADDRESSES, is_spared

# How many notes are forgotten at once, so that the table is sorted rarely.
_FORGOTTEN = 1_000

# How many names one query asks for. SQLite allows 999 in its older versions.
_NAMES = 500


def add(
    connection: sqlite3.Connection,
    last: Mapping[Address, int],
    *,
    before: int,
    upto: int,
) -> None:
    """Note the trim of the records after ``before`` up to ``upto``.

    ``last`` has the last trimmed offset of each address.
    """
    noted, unknown, count = _state(connection)
    if noted != before:
        unknown = max(unknown, before)
    connection.execute(
        "INSERT OR REPLACE INTO trimming VALUES (1, ?, ?, ?)", (upto, unknown, count)
    )
    note(connection, last)


def note(connection: sqlite3.Connection, last: Mapping[Address, int]) -> None:
    """Note the last trimmed offset of some addresses."""
    noted, unknown, count = _state(connection)
    connection.executemany(
        # A short-lived record may have left before older ones.
        "INSERT INTO trimmed VALUES (?, ?) ON CONFLICT (address)"
        " DO UPDATE SET last = MAX(last, excluded.last)",
        last.items(),
    )
    # An upper bound: counting the table costs as much as a hundred notes.
    count += len(last)
    if count > NOTED_ADDRESSES:
        (count,) = connection.execute("SELECT COUNT(*) FROM trimmed").fetchone()
    if count > NOTED_ADDRESSES:
        excess = count - NOTED_ADDRESSES + _FORGOTTEN - 1
        (unknown,) = connection.execute(
            "SELECT last FROM trimmed ORDER BY last LIMIT 1 OFFSET ?", (excess,)
        ).fetchone()
        count -= connection.execute(
            "DELETE FROM trimmed WHERE last <= ?", (unknown,)
        ).rowcount
    connection.execute(
        "INSERT OR REPLACE INTO trimming VALUES (1, ?, ?, ?)", (noted, unknown, count)
    )


def forget(connection: sqlite3.Connection) -> None:
    """Forget all notes: they belong to records of another log."""
    connection.execute("DELETE FROM trimmed")
    connection.execute("DELETE FROM trimming")


def spare(
    connection: sqlite3.Connection,
    after: int,
    addresses: Sequence[Address],
    *,
    floor: int,
    missed: int,
) -> bool:
    """Tell whether no record for these addresses was trimmed after an offset.

    ``floor`` is the offset after which all records are there, but for short-lived ones
    up to the offset ``missed``.
    """
    if after >= max(floor, missed):
        return True
    noted, unknown, _ = _state(connection)
    if after < floor != noted:
        return False
    last = dict(_notes(connection, addresses))
    return is_spared(after, addresses, last=last, unknown=unknown)


def known_from(connection: sqlite3.Connection) -> int:
    """Return the offset up to which nothing is known of the trimmed records."""
    return _state(connection)[1]


def _notes(
    connection: sqlite3.Connection, addresses: Sequence[Address]
) -> Iterable[tuple[Address, int]]:
    # A pattern has no note of its own: a trim would write more, and a process with an
    # earlier version writes none. The notes of its channels lie together in the index.
    for pattern in filter(is_pattern_address, addresses):
        (last,) = connection.execute(
            "SELECT MAX(last) FROM trimmed WHERE address >= ? AND address < ?",
            range_below(pattern),
        ).fetchone()
        yield pattern, last or 0
    exact = [each for each in addresses if not is_pattern_address(each)]
    for start in range(0, len(exact), _NAMES):
        names = exact[start : start + _NAMES]
        marks = ", ".join("?" * len(names))
        yield from connection.execute(
            f"SELECT address, last FROM trimmed WHERE address IN ({marks})",  # noqa: S608
            names,
        )


def _state(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return the last noted offset, the unknown offset and at most how many notes."""
    row = connection.execute("SELECT noted, unknown, count FROM trimming").fetchone()
    return row or (0, 0, 0)
