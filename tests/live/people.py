"""People in a real database: loading one takes a connection until the request ends."""

import os
import sqlite3

from flask import Flask, g
from flask_login import UserMixin


class User(UserMixin):  # type: ignore[misc]
    """A person of the database."""

    def __init__(self, name: str) -> None:
        self.id = name


class People:
    """The people of the live site, and the channels that are closed to everybody."""

    def __init__(self) -> None:
        #: How many connections are open, over all requests and streams.
        self.connections = 0

    def init_app(self, app: Flask) -> None:
        app.teardown_appcontext(self._disconnect)

    def get(self, name: str) -> User | None:
        """Load a person, None if there is none of this name."""
        found = self._connect().execute("SELECT id FROM user WHERE id = ?", [name])
        row = found.fetchone()
        return None if row is None else User(row[0])

    def count(self) -> int:
        """Return how many people there are."""
        (count,) = self._connect().execute("SELECT count(*) FROM user").fetchone()
        return int(count)

    def delete(self, name: str) -> None:
        """Delete a person."""
        with self._connect() as connection:
            connection.execute("DELETE FROM user WHERE id = ?", [name])

    def close(self, channel: str) -> None:
        """Close a channel to everybody."""
        with self._connect() as connection:
            connection.execute("INSERT INTO closed_channel VALUES (?)", [channel])

    def is_closed(self, channel: str) -> bool:
        """Tell whether a channel is closed."""
        query = "SELECT 1 FROM closed_channel WHERE name = ?"
        return self._connect().execute(query, [channel]).fetchone() is not None

    def _connect(self) -> sqlite3.Connection:
        if "connection" not in g:
            # A stream with an app context may be closed by another thread.
            path = os.environ["LIVE_DATABASE"]
            g.connection = sqlite3.connect(path, check_same_thread=False)
            self.connections += 1
        connection: sqlite3.Connection = g.connection
        return connection

    def _disconnect(self, _: BaseException | None) -> None:
        connection = g.pop("connection", None)
        if connection is not None:
            connection.close()
            self.connections -= 1
