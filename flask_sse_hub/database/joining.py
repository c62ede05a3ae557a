"""``publish(..., after=...)``: the place where an event joins a transaction.

Imports SQLAlchemy when it is first called. Does not know what else ``publish()`` does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import InvalidOption
from ..events.pending import PendingEvent
from ..events.record import Record
from .uncommitted import Destination, Uncommitted

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from .outbox import Outbox

# Notes that a commit has stored an event, whose record has the key of its row.
Ring = Callable[[PendingEvent, Record], None]


def append_after(after: object, record: Record, to: Destination) -> PendingEvent:
    """Append a record to the log once a transaction commits. Raises InvalidOption."""
    found = _checked(after)
    return _join(found, lambda waiting: waiting.append_later(record, to))


def store(
    after: object, record: Record, outbox: "Outbox | None", ring: Ring
) -> PendingEvent:
    """Store a record in the outbox, in a transaction, and ring once it commits.

    Raises InvalidOption, and the errors of the database.
    """
    found = _checked(after)
    if outbox is None:
        raise InvalidOption(
            "outbox=True needs a table for its events: write"
            " SSEHub(outbox=Outbox(db)), or Publisher(url, outbox=outbox)"
        )
    # The row first: without it, nothing waits for the commit.
    stored = outbox.table.write(found, record)
    return _join(
        found, lambda waiting: waiting.ring_later(lambda event: ring(event, stored))
    )


def _checked(after: object) -> "Session | Connection":
    try:
        from .transactions import session_or_connection
    except ImportError as error:
        raise InvalidOption(
            "after= takes a session or connection of SQLAlchemy 2, which is not"
            " installed: pip install 'flask-sse-hub[sqlalchemy]'"
        ) from error
    return session_or_connection(after)


def _join(
    found: "Session | Connection", wait: Callable[[Uncommitted], PendingEvent]
) -> PendingEvent:
    from . import transactions

    if transactions.commits_each_statement(found):
        # Each statement before this call is committed already.
        at_once = Uncommitted()
        event = wait(at_once)
        at_once.committed()
        return event
    return wait(transactions.joined(found))
