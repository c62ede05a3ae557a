"""Logging of frequent things: now and then, once, or when they change.

Strangers can cause refusals and broken webhooks at any rate, and an outage lasts for
thousands of attempts. Neither may fill a log.
"""

import logging
import time
from collections.abc import Callable, Hashable

_SILENT_SECONDS = 60.0


class RareLog:
    """Log at most one line of each kind in a minute."""

    def __init__(
        self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._clock = clock
        # For each kind: when it may be logged again, and how many lines were left out.
        self._silent: dict[object, tuple[float, int]] = {}

    def say(self, kind: object, text: str, *, level: int = logging.WARNING) -> None:
        """Log a text, or count it for the next line of its kind.

        The number of kinds must be small, and strangers must not be able to choose
        them: each kind takes memory.
        """
        until, unsaid = self._silent.get(kind, (0.0, 0))
        now = self._clock()
        if now < until:
            self._silent[kind] = until, unsaid + 1
            return
        self._silent[kind] = now + _SILENT_SECONDS, 0
        more = f" ({unsaid} more since the last such line)" if unsaid else ""
        self._log.log(level, "%s%s", text, more)


class FirstTime:
    """Tell the first occurrence of each kind from all later ones."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()

    def __call__(self, kind: Hashable) -> bool:
        """Tell whether a kind occurs for the first time. There must be few kinds."""
        if kind in self._seen:
            return False
        self._seen.add(kind)
        return True


class Trouble:
    """A trouble that lasts. It is logged when it begins, changes and ends."""

    def __init__(self) -> None:
        self._text = ""

    def is_news(self, text: str) -> bool:
        """Note a trouble; tell whether it differs from the one before."""
        before, self._text = self._text, text
        return text != before

    def is_over(self) -> bool:
        """Note that there is no trouble; tell whether there was one before."""
        before, self._text = self._text, ""
        return bool(before)
