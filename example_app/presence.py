"""Who is in the lobby: a list that the demo page keeps up to date.

Each worker knows its own streams only, so all of them note theirs in one small file.
Each event carries the whole list. Events that say "came" and "left" would be smaller,
but a page that missed one would be wrong for ever after.
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

#: The channel that every page of who is signed in listens to. All of them ask for the
#: same ones, and so all tabs of a browser can share one stream.
LOBBY = "lobby"

_SCHEMA = "CREATE TABLE IF NOT EXISTS stream (worker INTEGER, client TEXT, person TEXT)"

# One and no more: a client is often back, and in the list twice, before it is noticed
# that the connection it had is dead.
_ONE_LESS = """
    DELETE FROM stream WHERE rowid = (
        SELECT min(rowid) FROM stream WHERE worker = ? AND client = ? AND person = ?
    )
"""


def init_app(app: Flask) -> None:
    """Publish the list when somebody's first stream has come or the last one left."""

    def came(_: Flask, *, client: ClientStats) -> None:
        if LOBBY in client.channels and client.user_id is not None:
            # A stream runs longer than its request, so there is no app context here.
            with app.app_context():
                _change("INSERT INTO stream VALUES (?, ?, ?)", client)

    def left(_: Flask, *, client: ClientStats, reason: CloseReason) -> None:
        # The clients of a worker that goes away are back before anybody has noticed.
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
            # Killed, or stopped: its streams are gone with it.
            connection.execute("DELETE FROM stream WHERE worker = ?", (worker,))
    found = connection.execute("SELECT DISTINCT person FROM stream ORDER BY person")
    return [person for (person,) in found]


@contextmanager
def _file() -> Iterator[sqlite3.Connection]:
    folder = Path(current_app.instance_path)
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "presence.db")
    try:
        # One change at a time, so that each sees what the one before has done.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_SCHEMA)
        yield connection
        connection.commit()
    finally:
        connection.close()
