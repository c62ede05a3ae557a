"""The hub's own events, encoded: ``connected``, ``ping``, ``reset``, ``subscribed``."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ...events.address import name_of
from ...events.event import encode_block
from ...events.record import UNPLACED, Cursor
from ..clients.client import ChannelChange, Client

# json.dumps() with these separators would make an encoder for each event.
_encoder = json.JSONEncoder(separators=(",", ":"))


def own_event(
    type: str,
    event_id: str | None,
    text: str,
    *,
    retry: float | None = None,
) -> bytes:
    """Return the block of an event of the hub, with its data as text."""
    return encode_block(text, type=type, event_id=event_id, retry=retry)


def text(data: Mapping[str, Any]) -> str:
    """Return the data of an event in JSON."""
    return _encoder.encode(data)


def ping(cursor: Cursor) -> bytes:
    """Return a ping, whose id is a place in the log."""
    return own_event("ping", id_of(cursor), text({"ts": round(time.time(), 3)}))


def connected(
    client: Client, *, heartbeat: float, resumed: bool, warnings: Sequence[str]
) -> str:
    """Return the data of the event with which a stream begins."""
    data: dict[str, Any] = {
        "client_id": client.id,
        "user_id": client.user,
        "channels": client.channels,
        "heartbeat": heartbeat,
        "resumed": resumed,
    }
    if client.names_channels:
        data["names_channels"] = True
    if warnings:
        data["warnings"] = warnings
    return text(data)


def subscribed(change: ChannelChange) -> str:
    """Return the data of the event that confirms a change of channels."""
    data: dict[str, Any] = {"channels": change.channels}
    if change.refused:
        data["refused"] = change.refused
    if change.gap is not None:
        lost = [name_of(each) for each in change.lost]
        data["reset"] = {"reason": change.gap, "channels": lost}
    return text(data)


def id_of(cursor: Cursor) -> str | None:
    """Return the event id for a cursor; None while no place in the log is known."""
    return None if cursor == UNPLACED else str(cursor)
