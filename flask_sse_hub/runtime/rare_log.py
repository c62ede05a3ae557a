"""A log that strangers cannot fill: what anybody can cause is said now and then.

Does not know what is refused, or why.
"""

import logging
import time
from collections.abc import Callable

_SILENT_SECONDS = 60.0


class SparseLog:
    """Lines of a logger, of each kind at most one in a minute."""

    def __init__(
        self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._clock = clock
        # For each kind when it may be said again, and how often it was not said since.
        self._silent: dict[object, tuple[float, int]] = {}

    def say(self, kind: object, text: str, *, level: int = logging.WARNING) -> None:
        """Log a text, or count it for the next line of its kind.

        Kinds are few, and not what a stranger chooses.
        """
        until, unsaid = self._silent.get(kind, (0.0, 0))
        now = self._clock()
        if now < until:
            self._silent[kind] = until, unsaid + 1
            return
        self._silent[kind] = now + _SILENT_SECONDS, 0
        more = f" ({unsaid} more since the last such line)" if unsaid else ""
        self._log.log(level, "%s%s", text, more)
