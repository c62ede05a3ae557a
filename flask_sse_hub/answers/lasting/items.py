"""The items of an answer in the form of the log, and back. Pure."""

import json
from collections.abc import Callable
from typing import Any

from ...events.event import Event, text_of


def stored_item(item: Any, *, dumps: Callable[[Any], str]) -> Any:
    """Return an item as JSON can hold it. Raises InvalidEvent.

    A str stands for a text, a list for an event, and a dict holds any other item as the
    app's JSON provider writes it.
    """
    if type(item) is str and item.isascii():
        return item
    if isinstance(item, Event):
        return [item.data, item.type, item.retry]
    text = text_of(item, dumps=dumps)
    if isinstance(item, str | bytes | bytearray | memoryview):
        # The class Event refuses text that cannot be encoded.
        return Event(text).data
    return {"json": text}


def restored_item(stored: Any) -> Any:
    """Return the item that stored_item() was given, or an equal one."""
    if isinstance(stored, list):
        data, type_, retry = stored
        return Event(data, type=type_, retry=retry)
    return json.loads(stored["json"]) if isinstance(stored, dict) else stored
