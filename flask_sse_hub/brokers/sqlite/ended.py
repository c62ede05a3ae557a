"""The sessions that ended last, beside the log in an SQLite file.

Knows the table of their addresses. The caller's transaction also appends the records.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from ...events.address import Address
from ..base import ENDED_SESSIONS


def remember(connection: sqlite3.Connection, addresses: Iterable[Address]) -> None:
    """Note the addresses of ended sessions, and forget the oldest ones."""
    connection.executemany(
        "INSERT OR IGNORE INTO ended VALUES (NULL, ?)", ((each,) for each in addresses)
    )
    connection.execute(
        "DELETE FROM ended WHERE number <= (SELECT MAX(number) FROM ended) - ?",
        (ENDED_SESSIONS,),
    )


def addresses(connection: sqlite3.Connection) -> Sequence[Address]:
    """Return the addresses of the sessions that ended last, the oldest first."""
    rows = connection.execute("SELECT address FROM ended ORDER BY number")
    return [Address(address) for (address,) in rows]
