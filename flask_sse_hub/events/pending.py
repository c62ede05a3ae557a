"""Events that wait for the commit of a database transaction.

Knows only what becomes of an event. Does not know databases, or where it is appended.
"""

from typing import Literal, Protocol

PendingState = Literal["waiting", "stored", "published", "forgotten", "failed"]


class Transactional(Protocol):
    """A session, scoped session or connection of SQLAlchemy 2."""

    def commit(self) -> None:
        """Commit the transaction."""

    def rollback(self) -> None:
        """Roll the transaction back."""


class PendingEvent:
    """The handle of an event that is published after a transaction commits.

    Until the commit its ``id`` is None. For example::

        pending = sse_hub.publish("shipped", user=42, after=db.session)
        db.session.commit()
        assert pending.state == "published"
    """

    __slots__ = ("__weakref__", "_id", "_state")

    def __init__(self) -> None:
        self._id: str | None = None
        self._state: PendingState = "waiting"

    @property
    def id(self) -> str | None:
        """The event's id in the log. None before this process has appended it."""
        return self._id

    @property
    def state(self) -> PendingState:
        """The present state.

        * "waiting": the transaction has not ended.
        * "stored": the commit has stored it in the outbox, and a relay appends it.
        * "published": it is in the log, and ``id`` is set.
        * "forgotten": the transaction, or its savepoint, was rolled back.
        * "failed": the transaction was committed, but the broker could not be reached.
          The outcome is unknown: the event may have been appended.
        """
        return self._state

    def become(self, state: PendingState) -> None:
        """Note a state other than "published". For the code that ends transactions."""
        self._state = state

    def published(self, event_id: str) -> None:
        """Note the id that the log has given."""
        self._id = event_id
        self._state = "published"

    def __repr__(self) -> str:
        return f"<PendingEvent {self._state} {self._id or ''}".rstrip() + ">"
