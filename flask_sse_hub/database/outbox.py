"""The outbox of an app: the public object, which names the database.

Knows the app's metadata and its engine. Does not know the rows of the table.
"""

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Engine, MetaData

from ..errors import InvalidOption
from .outbox_table import TABLE, OutboxTable


class HasMetadata(Protocol):
    """A declarative base, or the ``db`` of Flask-SQLAlchemy."""

    @property
    def metadata(self) -> MetaData:
        """The tables of the app."""


class Outbox:
    """Publish events exactly once, if and only if a transaction commits.

    ``publish(..., after=db.session, outbox=True)`` stores the event in the table
    ``sse_hub_outbox``, in the session's transaction. Each worker has a relay, which
    appends stored events to the log and deletes their rows. A process that is killed at
    any moment loses no event and doubles none.

    For example::

        db = SQLAlchemy()
        sse_hub = SSEHub(outbox=Outbox(db))

    The object only adds the table to the app's metadata. Create the table as all other
    tables: by a migration of Alembic, or by ``db.create_all()``.

    Args:
        db: The ``db`` of Flask-SQLAlchemy; or a declarative base, or a MetaData.
        engine: The engine of the database, or a function that returns it. Leave it out
            with Flask-SQLAlchemy, whose own engine is used.

    Raises:
        InvalidOption: ``db`` has no metadata, or the metadata has an outbox already, or
            the engine is missing.

    """

    def __init__(
        self,
        db: HasMetadata | MetaData,
        *,
        engine: Engine | Callable[[], Engine] | None = None,
    ) -> None:
        metadata = db if isinstance(db, MetaData) else getattr(db, "metadata", None)
        if not isinstance(metadata, MetaData):
            raise InvalidOption(
                f"Outbox takes the db of Flask-SQLAlchemy, a declarative base or a"
                f" MetaData, not {type(db).__name__}"
            )
        if engine is None and not hasattr(type(db), "engines"):
            raise InvalidOption(
                "engine is missing: pass the engine of the database, or a function"
                " that returns it. Only the db of Flask-SQLAlchemy has one"
            )
        if not (engine is None or isinstance(engine, Engine) or callable(engine)):
            raise InvalidOption(
                "engine must be an Engine of SQLAlchemy, or a function that returns"
                f" one, not {type(engine).__name__}"
            )
        if TABLE in metadata.tables:
            raise InvalidOption(
                f"the metadata has a table {TABLE} already: make one Outbox, and"
                " share it"
            )
        self._db: Any = db
        self._engine = engine
        #: The rows, for the code that writes and relays them.
        self.table = OutboxTable(metadata)

    def engine(self) -> Engine:
        """Return the engine of the database.

        With Flask-SQLAlchemy, the engine of the current app: call it in an app context.
        """
        if self._engine is None:
            found: Engine = self._db.engine
            return found
        return self._engine if isinstance(self._engine, Engine) else self._engine()
