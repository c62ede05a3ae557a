"""The list of people in the lobby, which the demo page shows.

Each worker knows only its own streams, so all workers record theirs in one small file.
Each event carries the whole list. Events that say "came" and "left" would be smaller,
but a page that missed one would stay wrong.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from flask import Flask, current_app

from flask_sse_hub import (
    ClientStats,
    CloseReason,
    client_connected,
    client_disconnected,
)

from .extensions import sse_hub

#: The channel that the pages of all signed-in users listen to. Every page requests the
#: same channels, so all tabs of a browser can share one stream.
LOBBY = "lobby"

_SCHEMA = "CREATE TABLE IF NOT EXISTS stream (worker INTEGER, client TEXT, person TEXT)"

# Deletes exactly one row. A client often reconnects before its old connection is found
# to be dead, and is then in the table twice.
_ONE_LESS = """
    DELETE FROM stream WHERE rowid = (
        SELECT min(rowid) FROM stream WHERE worker = ? AND client = ? AND person = ?
    )
"""


def init_app(app: Flask) -> None:
    """Publish the list when a user's first stream connects or the last one ends."""

    def came(_: Flask, *, client: ClientStats) -> None:
        if LOBBY in client.channels and client.user_id is not None:
            # A stream runs longer than its request, so there is no app context here.
            with app.app_context():
                _change("INSERT INTO stream VALUES (?, ?, ?)", client)

    def left(_: Flask, *, client: ClientStats, reason: CloseReason) -> None:
        # The clients of a worker that shuts down reconnect at once.
        if LOBBY in client.channels and reason is not CloseReason.SHUTDOWN:
            with app.app_context():
                _change(_ONE_LESS, client)

    app.jinja_env.globals["lobby"] = LOBBY
    # Signals hold their receivers weakly, and nothing else holds these.
    client_connected.connect(came, sender=app, weak=False)
    client_disconnected.connect(left, sender=app, weak=False)


def people() -> list[str]:
    """Return the ids of the users who have the lobby open, on any worker."""
    with _file() as connection:
        return _people(connection)


def _change(statement: str, client: ClientStats) -> None:
    with _file() as connection:
        before = _people(connection)
        connection.execute(statement, (os.getpid(), client.id, client.user_id))
        after = _people(connection)
    if after != before:
        sse_hub.publish({"people": after}, type="presence", channel=LOBBY)


def _people(connection: sqlite3.Connection) -> list[str]:
    for (worker,) in connection.execute("SELECT DISTINCT worker FROM stream"):
        if not psutil.pid_exists(worker):
            # The worker was killed or has stopped, and its streams have ended.
            connection.execute("DELETE FROM stream WHERE worker = ?", (worker,))
    found = connection.execute("SELECT DISTINCT person FROM stream ORDER BY person")
    return [person for (person,) in found]


@contextmanager
def _file() -> Iterator[sqlite3.Connection]:
    folder = Path(current_app.instance_path)
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "presence.db")
    try:
        # One change at a time, so that each one sees the result of the one before.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_SCHEMA)
        yield connection
        connection.commit()
    finally:
        connection.close()
