"""Joining a transaction of SQLAlchemy: the end of a session's or a connection's.

Knows the events of sessions and connections. Does not know what waits for the end.

A session tells of its commit before it gives its database connection back. Events are
published a moment later, when the transaction has ended: waiting for the broker holds
no connection, and receivers of the signal may use the session.

A connection has no event after its commit. Its dialect's methods carry out each commit,
rollback and savepoint, so they are wrapped.
"""

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from ..errors import InvalidOption
from .uncommitted import Uncommitted

# The key in the info dict of a session, and in that of a database connection.
_KEY = "flask_sse_hub"


def session_or_connection(after: object) -> Session | Connection:
    """Return the session or the connection that an app passes as ``after``.

    Raises InvalidOption for anything else, async sessions included.
    """
    found = after() if isinstance(after, scoped_session) else after
    if isinstance(found, Session | Connection):
        return found
    raise InvalidOption(
        f"after= takes a session, scoped session or connection of SQLAlchemy 2, not"
        f" {type(found).__name__}{_remedy(found)}"
    )


def _remedy(found: object) -> str:
    name = type(found).__name__.lower()
    if "async" in name:
        return (
            ". Async is not supported: call publish() without after= once the commit"
            " has been awaited"
        )
    if isinstance(getattr(found, "session", None), scoped_session):
        return ": pass after=db.session"
    if "sessionmaker" in name or "engine" in name:
        return ": pass the session or connection that it made"
    if "transaction" in name:
        return ": pass the session or connection that has begun it"
    return ": pass after=db.session"


def commits_each_statement(after: Session | Connection) -> bool:
    """Tell whether this is a connection without transactions: with AUTOCOMMIT.

    A session writes its objects at its commit, with AUTOCOMMIT too.
    """
    if isinstance(after, Session):
        return False
    connection = after
    level = connection.get_execution_options().get("isolation_level")
    if level is None:
        # The argument of create_engine(). There is no public way to ask for it.
        level = getattr(connection.dialect, "_on_connect_isolation_level", None)
    return bool(level == "AUTOCOMMIT")


def joined(after: Session | Connection) -> Uncommitted:
    """Return the events that wait for the present transaction, which begins if needed.

    Raises InvalidOption if there is no transaction, and none begins by itself.
    """
    if isinstance(after, Session):
        return _join_session(after)
    return _join_connection(after)


# Sessions


def _join_session(session: Session) -> Uncommitted:
    if not session.in_transaction():
        # A query would begin one too. Without it, a rollback would not be told.
        if not session.autobegin:
            raise InvalidOption(
                "the session of after= is in no transaction, and begins none by itself"
                " (autobegin=False): call session.begin() first"
            )
        session.begin()
    found = session.info.get(_KEY)
    # The info of a sessionmaker is copied to each of its sessions.
    if not isinstance(found, _SessionEvents) or found.session is not session:
        found = session.info[_KEY] = _SessionEvents(session)
    return found.uncommitted


class _SessionEvents:
    """The listeners of one session, for as long as it lives."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.uncommitted = Uncommitted()
        # The transactions and savepoints of this session that have been committed.
        self._committed: WeakSet[SessionTransaction] = WeakSet()
        # First in line: a later listener that raises cannot hide the commit.
        event.listen(session, "after_commit", self._after_commit, insert=True)
        event.listen(session, "after_transaction_create", self._begun)
        event.listen(session, "after_transaction_end", self._ended)

    def _begun(self, _: Session, transaction: SessionTransaction) -> None:
        if transaction.nested:
            self.uncommitted.open(transaction)

    def _after_commit(self, session: Session) -> None:
        # Called for savepoints too. The innermost one is committed first.
        ended = session.get_nested_transaction() or session.get_transaction()
        if ended is not None:
            self._committed.add(ended)

    def _ended(self, _: Session, transaction: SessionTransaction) -> None:
        committed = transaction in self._committed
        if transaction.nested:
            if committed:
                self.uncommitted.release(transaction)
            else:
                self.uncommitted.roll_back_to(transaction)
        elif transaction.parent is None:
            if committed:
                self.uncommitted.committed()
            else:
                self.uncommitted.roll_back()


# Connections


def _join_connection(connection: Connection) -> Uncommitted:
    if not connection.in_transaction():
        connection.begin()
    _watch(connection.dialect)
    found: Uncommitted = connection.info.setdefault(_KEY, Uncommitted())
    return found


# Guards the wrapping of a dialect, which all connections of an engine share.
_wrapping = threading.Lock()


def _watch(dialect: Dialect) -> None:
    """Have a dialect tell the ends of transactions and savepoints, from now on.

    The methods are those that every dialect has. Each receives a Connection of
    SQLAlchemy, or the pool's database connection; both have the same ``info``.
    """
    with _wrapping:
        if _KEY in vars(dialect):
            return
        setattr(dialect, _KEY, True)
        for name, end in _ENDS.items():
            setattr(dialect, name, _ending(getattr(dialect, name), end))
        for name, mark in _SAVEPOINTS.items():
            setattr(dialect, name, _marking(getattr(dialect, name), mark))


_ENDS: dict[str, Callable[[Uncommitted], None]] = {
    "do_commit": Uncommitted.committed,
    "do_commit_twophase": Uncommitted.committed,
    "do_rollback": Uncommitted.roll_back,
    "do_rollback_twophase": Uncommitted.roll_back,
}

_SAVEPOINTS: dict[str, Callable[[Uncommitted, str], None]] = {
    "do_savepoint": Uncommitted.open,
    "do_release_savepoint": Uncommitted.release,
    "do_rollback_to_savepoint": Uncommitted.roll_back_to,
}


def _ending(
    end: Callable[..., None], then: Callable[[Uncommitted], None]
) -> Callable[..., None]:
    @wraps(end)
    def ending(connection: Any, *args: Any, **options: Any) -> None:
        # Taken out first: a two-phase commit may call do_rollback().
        uncommitted = connection.info.pop(_KEY, None)
        try:
            end(connection, *args, **options)
        except BaseException:
            # After a commit that fails, SQLAlchemy allows only a rollback.
            if uncommitted is not None:
                uncommitted.roll_back()
            raise
        if uncommitted is not None:
            then(uncommitted)

    return ending


def _marking(
    mark: Callable[..., None], then: Callable[[Uncommitted, str], None]
) -> Callable[..., None]:
    @wraps(mark)
    def marking(connection: Any, name: str) -> None:
        mark(connection, name)
        uncommitted = connection.info.get(_KEY)
        if uncommitted is not None:
            then(uncommitted, name)

    return marking
