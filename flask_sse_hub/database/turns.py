"""Turns: one relay at a time, of all processes that share a database.

Events would otherwise be appended out of order; the rows' keys prevent doubles anyway.
Knows the databases. Does not know the outbox. A turn that a killed process had is free
at once: the database, or the kernel, sees that the process is gone.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from ..errors import ConfigurationError
from ..runtime import native
from ..runtime.private_directory import give_to_owner_above

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# An arbitrary number, in which no other package's lock is.
_LOCK_NUMBER = 0x5E_0B_0C_5E_4B

Turn = AbstractContextManager[bool]


def turn(connection: Connection) -> Turn:
    """Return a context manager: whether it is this connection's turn, for the block.

    Waits for nothing. Raises ConfigurationError for a database that is not supported.
    """
    name = connection.dialect.name
    found = _TURNS.get(name)
    if found is None:
        raise ConfigurationError(
            f"Outbox works with SQLite, PostgreSQL, MySQL and MariaDB, not with {name}:"
            " publish without outbox=True"
        )
    return found(connection)


def connected(engine: Engine) -> Connection:
    """Return a new connection for a turn, whatever isolation the app has chosen."""
    connection = engine.connect()
    if connection.dialect.name == "sqlite":
        return connection
    # A turn on PostgreSQL lasts as long as its transaction. With AUTOCOMMIT there is
    # none. With REPEATABLE READ, the rows could be older than the turn.
    return connection.execution_options(isolation_level="READ COMMITTED")


@contextmanager
def _postgresql(connection: Connection) -> Iterator[bool]:
    # The lock ends with the transaction. One of the session would stay with a
    # connection of PgBouncer.
    taken = text("SELECT pg_try_advisory_xact_lock(:number)")
    yield bool(connection.scalar(taken, {"number": _LOCK_NUMBER}))


@contextmanager
def _mysql(connection: Connection) -> Iterator[bool]:
    # Locks are shared by all databases of a server; its name may have 64 characters.
    name = "CONCAT('sse_hub_outbox.', MD5(DATABASE()))"
    free = connection.scalar(text(f"SELECT GET_LOCK({name}, 0)"))
    try:
        yield free == 1
    finally:
        if free == 1 and not connection.invalidated:
            # The lock would stay with the connection, which goes back to a pool.
            connection.rollback()
            connection.scalar(text(f"SELECT RELEASE_LOCK({name})"))


@contextmanager
def _sqlite(connection: Connection) -> Iterator[bool]:
    databases = connection.execute(text("PRAGMA database_list"))
    path = next(file for _, name, file in databases if name == "main")
    patience = connection.scalar(text("PRAGMA busy_timeout"))
    # The wait for another writer would stop all greenlets of this process, and perhaps
    # one of them is that writer.
    connection.execute(text("PRAGMA busy_timeout = 0"))
    connection.rollback()
    try:
        # No other process has a database in memory. Windows has no flock.
        with (
            _locked(f"{path}-sse-hub") if path and fcntl else nullcontext(True) as free
        ):
            yield free
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.execute(text(f"PRAGMA busy_timeout = {patience}"))


@contextmanager
def _locked(path: str) -> Iterator[bool]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        give_to_owner_above(Path(path))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
            # A forked child may have a copy of the descriptor, and the lock with it.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        native.original("os", "close")(descriptor)


_TURNS: dict[str, Callable[[Connection], Turn]] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlite": _sqlite,
}
