"""Habits from other packages: data in a form that another package would understand.

Only looks at data, and says what its author probably means. Such data can be sent, and
may be meant as it is. Does not know where the data comes from or goes to.
"""

import re
from collections.abc import Mapping

from .event import Event
from .seconds import LONGEST_SHORT

# A field of the wire at the beginning, and the blank line that ends an event. Comments
# are no habit: the token ":" with a blank line is frequent in a model's answers.
_BLANK_LINES = ("\n\n", "\r\n\r\n", "\r\r")
_ON_THE_WIRE = re.compile(r"(?:data|event|id|retry):")

# The keys by which other packages, such as sse-starlette, describe an event.
_KEYS = frozenset({"event", "data", "id", "retry", "comment"})


def is_on_the_wire(data: object) -> bool:
    """Tell whether data is written as a stream has it: with its fields and its end."""
    if isinstance(data, bytes):
        return is_on_the_wire(data.decode(errors="replace"))
    if not isinstance(data, str) or not data.endswith(_BLANK_LINES):
        return False
    return _ON_THE_WIRE.match(data) is not None


def is_in_milliseconds(retry: float | None) -> bool:
    """Tell whether a delay in seconds is most likely a number of milliseconds."""
    return retry is not None and retry > LONGEST_SHORT


def remedy(item: object) -> str | None:
    """Return how to yield an item that another package would understand.

    None if nothing is conspicuous about the item.
    """
    if item is None:
        return "None is sent as `null`: yield nothing instead, or Event('null')"
    if is_on_the_wire(item):
        return (
            "a text with `data:` and a blank line is sent as the data of an event, with"
            " another `data:` before it: yield the data alone, or Event(data, type=...)"
        )
    if isinstance(item, Event) and is_in_milliseconds(item.retry):
        return f"the Event has retry={item.retry:g} (seconds, not milliseconds?)"
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        return (
            "a tuple is sent as a JSON array: yield Event(data, type=...) to set a"
            " type, or a list if you mean the array"
        )
    if isinstance(item, Mapping) and {"event", "data"} <= item.keys() <= _KEYS:
        return (
            f"a dict with the keys {', '.join(item)} is sent as JSON, as a whole: yield"
            " Event(data, type=...) to set a type, or Event(json.dumps(...)) if you"
            " mean the JSON"
        )
    return None
