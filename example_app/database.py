"""The database: its tables, and the rule for holding a connection.

Each ``with db.session.begin():`` of this app is short and waits for nothing else: no
token, no event, no body. Under gevent, all requests of a worker share one thread. A
request that waited for the lock of an SQLite file would block that thread, and the
holder of the lock could never release it.
"""

from flask import Flask
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable

from .extensions import Base, db


def init_app(app: Flask) -> None:
    """Set up the database, and create the tables that do not exist."""
    db.init_app(app)
    with app.app_context():
        create_tables()


def create_tables() -> None:
    """Create the tables and columns that do not exist.

    Other workers may do the same at this moment.

    ``db.create_all()`` checks first and creates afterwards, so one of two workers that
    start at the same time fails. Here the database checks and creates in one statement.
    """
    with db.engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
        _add_conversations(connection)
    # After a fork, the server and its worker would use the same connection.
    db.engine.dispose()


def _add_conversations(connection: Connection) -> None:
    """Add the column that a database of an earlier version of this app does not have.

    An app with more changes than this one uses Flask-Migrate.
    """

    def is_missing() -> bool:
        columns = inspect(connection).get_columns("exchange")
        return "conversation" not in {column["name"] for column in columns}

    if not is_missing():
        return
    add = "ALTER TABLE exchange ADD COLUMN conversation VARCHAR DEFAULT '' NOT NULL"
    try:
        connection.execute(text(add))
    except OperationalError:
        if is_missing():
            raise
        # Another worker was faster.
