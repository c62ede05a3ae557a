"""The database: its tables, and how long a connection to it is held.

Each ``with db.session.begin():`` of this app is short, and nothing in it waits for
anything else: no token, no event, no body. Under gevent all requests of a worker share
one thread, and who waited for the lock of an SQLite file would keep its holder from
ever letting it go.
"""

from flask import Flask
from sqlalchemy.schema import CreateIndex, CreateTable

from .extensions import Base, db


def init_app(app: Flask) -> None:
    """Set the database up, and make its tables where there are none."""
    db.init_app(app)
    with app.app_context():
        create_tables()


def create_tables() -> None:
    """Make the tables that are not there, while other workers do the same.

    ``db.create_all()`` looks first and creates then, so that of two workers which start
    at once one fails. Here the database looks and creates in one statement.
    """
    with db.engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
    # A server that forks after this would have two processes use one connection.
    db.engine.dispose()
