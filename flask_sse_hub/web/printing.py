"""Text for a terminal, without characters that could control it."""

import json
from datetime import datetime


def printable(text: str) -> str:
    """Return text with escapes for all characters that could control a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def printable_json(text: str) -> str:
    """Return JSON with escapes for all characters that could control a terminal.

    json escapes only the oldest control characters. Outside of strings JSON has none.
    """
    return "".join(
        char if char.isprintable() else json.dumps(char)[1:-1] for char in text
    )


def time_of(moment: float) -> str:
    """Return a time, in seconds since 1970, as people of this machine read it."""
    when = datetime.fromtimestamp(moment).astimezone()
    return when.strftime("%Y-%m-%d %H:%M:%S.") + f"{when.microsecond // 1000:03}"
