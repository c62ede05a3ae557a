"""Who is in the lobby: a list that every page there keeps up to date.

Each event carries the whole list. Events that say "came" and "left" would be smaller,
but a page that missed one would be wrong for ever after.
"""

from flask import Flask

from flask_sse_hub import (
    ClientStats,
    CloseReason,
    client_connected,
    client_disconnected,
)

from .extensions import sse_hub

#: The channel of the demo page.
LOBBY = "lobby"


def init_app(app: Flask) -> None:
    """Publish the list when somebody's first stream has come or the last one left."""

    def changed(
        _: Flask, *, client: ClientStats, reason: CloseReason | None = None
    ) -> None:
        # A worker that goes away takes all streams with it: nobody is left to be told.
        if LOBBY not in client.channels or reason is CloseReason.SHUTDOWN:
            return
        # A stream runs longer than its request, so there is no app context here.
        with app.app_context():
            streams = [each.user_id for each in _streams()].count(client.user_id)
            if streams == (1 if reason is None else 0):
                sse_hub.publish({"people": people()}, type="presence", channel=LOBBY)

    # Signals hold their receivers weakly, and nothing else holds this one.
    client_connected.connect(changed, sender=app, weak=False)
    client_disconnected.connect(changed, sender=app, weak=False)


def people() -> list[str]:
    """Return the ids of the users who have the lobby open, on this worker."""
    return sorted({each.user_id for each in _streams() if each.user_id is not None})


def _streams() -> list[ClientStats]:
    clients = sse_hub.stats(clients=True).clients
    return [each for each in clients if LOBBY in each.channels]
