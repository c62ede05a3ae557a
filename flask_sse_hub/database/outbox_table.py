"""The rows of the outbox: a table in the app's own database.

Knows the table and its statements. Does not know when rows are passed on to the log:
the relay decides that.

A row has the idempotency key with which it is appended. The key is random, because the
numbers of rows may be given again: after a restore from a backup, by SQLite, or by an
older MySQL after a restart.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.mysql import LONGBLOB
from sqlalchemy.orm import Session

from ..brokers import codec
from ..events.record import Cursor, Record

#: The name of the table.
TABLE = "sse_hub_outbox"

# The place of records that the log has not taken.
_NOWHERE = Cursor("outbox", 0)


class Row(NamedTuple):
    """One row of the outbox, with the record in it. Reading the record may fail."""

    number: int
    body: bytes

    def record(self) -> Record:
        """Return the record to append. Raises Malformed."""
        key, _, body = bytes(self.body).partition(b"\n")
        found = codec.decode(body, cursor=_NOWHERE, time=0.0)
        return replace(found, idempotency_key=key.decode(errors="replace"))


class OutboxTable:
    """The table in an app's metadata, and what is done with its rows."""

    def __init__(self, metadata: MetaData) -> None:
        self._table = _table(metadata)

    def write(self, after: Session | Connection, record: Record) -> Record:
        """Store a record in a transaction. Returns the record with the row's key.

        The row is written at once, so that the database's error is raised here.
        """
        stored = replace(
            record, idempotency_key=record.idempotency_key or f"outbox-{uuid4().hex}"
        )
        # A key has no line ends.
        body = f"{stored.idempotency_key}\n{codec.encode(stored)}".encode()
        row = insert(self._table).values(body=body, created=time.time())
        if isinstance(after, Session):
            # The connection itself: the statement flushes no objects of the session.
            after = after.connection(bind_arguments={"clause": self._table})
        after.execute(row)
        return stored

    def read(self, connection: Connection, most: int) -> list[Row]:
        """Return the oldest rows, in the order in which they were written."""
        table = self._table.c
        oldest = (
            select(table.id, table.body)
            .where(table.problem.is_(None))
            .order_by(table.id)
            .limit(most)
        )
        return [Row(*row) for row in connection.execute(oldest)]

    def delete(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Delete rows that are in the log."""
        numbers = [row.number for row in rows]
        connection.execute(delete(self._table).where(self._table.c.id.in_(numbers)))

    def set_aside(self, connection: Connection, row: Row, problem: str) -> None:
        """Note why a row can never be appended. The row stays, for people to look at.

        Other rows are passed on past it.
        """
        connection.execute(
            update(self._table)
            .where(self._table.c.id == row.number)
            .values(problem=problem)
        )

    def backlog(self, connection: Connection) -> tuple[int, float]:
        """Return how many rows wait, and since when the oldest of them does."""
        table = self._table.c
        found = select(func.count(), func.min(table.created)).where(
            table.problem.is_(None)
        )
        count, oldest = connection.execute(found).one()
        return count, oldest or 0.0


def _table(metadata: MetaData) -> Table:
    return Table(
        TABLE,
        metadata,
        # SQLite numbers only a column of the type INTEGER by itself.
        Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
        # Bytes: PostgreSQL has no text with NUL, and MySQL's text depends on a charset.
        Column(
            "body",
            LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb"),
            nullable=False,
        ),
        Column("created", Double(), nullable=False),
        Column("problem", Text()),
        # Numbers only rise, as in the other databases.
        sqlite_autoincrement=True,
    )
