"""Logging of frequent things: now and then, once, or when they change.

Strangers can cause refusals and broken webhooks at any rate, and an outage lasts for
thousands of attempts. Neither may fill a log.
"""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable

from .coded_log import CodedLog

_SILENT_SECONDS = 60.0

# How many texts of one trouble are logged. An outage has few: refused, then a timeout.
_MOST_TEXTS = 10

# How many kinds a log remembers. The causes of errors are kinds: an app has fewer lines
# that raise, unless it makes code while it runs.
_MOST_KINDS = 200


class RareLog:
    """Log at most one line of each kind in a minute."""

    def __init__(
        self, log: CodedLog, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._clock = clock
        # Guards the field below: lines come from many threads. Reentrant, because the
        # garbage collector may end a stream, which logs, at any place.
        self._lock = threading.RLock()
        # For each kind: when it may be logged again, and how many lines were left out.
        self._silent: dict[object, tuple[float, int]] = {}

    def warning(
        self, code: str, text: str, *args: object, kind: Hashable = None
    ) -> None:
        """Log a warning, or count it for the next one of its code and kind."""
        self._say(logging.WARNING, code, text, args, kind=kind)

    def error(self, code: str, text: str, *args: object, kind: Hashable = None) -> None:
        """Log an error, or count it for the next one of its code and kind.

        Strangers must not be able to choose the kinds of a warning or an error: a new
        kind is logged at once.
        """
        self._say(logging.ERROR, code, text, args, kind=kind)

    def exception(
        self, code: str, text: str, *args: object, error: BaseException | None = None
    ) -> bool:
        """Log an error, or count it for the next of its cause; tell whether it was new.

        By default it is the error that is being handled. The cause is the class of the
        error and the line of the program that raised it.
        """
        error = error or sys.exception()
        return self._say(
            logging.ERROR, code, text, args, kind=_cause_of(error), exc_info=error
        )

    def _say(
        self,
        level: int,
        code: str,
        text: str,
        args: tuple[object, ...],
        *,
        kind: Hashable,
        exc_info: BaseException | None = None,
    ) -> bool:
        now = self._clock()
        with self._lock:
            until, unsaid = self._silent.pop((code, kind), (0.0, 0))
            if now < until:
                self._silent[code, kind] = until, unsaid + 1
                return False
            while len(self._silent) >= _MOST_KINDS:
                del self._silent[next(iter(self._silent))]
            self._silent[code, kind] = now + _SILENT_SECONDS, 0
        self._log.say(
            level,
            code,
            text,
            *args,
            exc_info=exc_info,
            count=unsaid + 1,
            stacklevel=4,
        )
        return True


def _cause_of(error: BaseException | None) -> Hashable:
    if error is None or error.__traceback__ is None:
        return None
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return type(error).__qualname__, frame.f_code.co_filename, line


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
        # The texts of its causes that were logged, and how often it was met.
        self._texts: set[str] = set()
        self._count = 0

    def is_news(self, text: str) -> bool:
        """Note a trouble; tell whether its text is to be logged.

        Each text is, until the trouble is over. Of texts that never are the same only
        the first are.
        """
        self._count += 1
        if text in self._texts or len(self._texts) >= _MOST_TEXTS:
            return False
        self._texts.add(text)
        return True

    def is_over(self) -> int:
        """Note that there is no trouble; return how often it was met."""
        count, self._count = self._count, 0
        self._texts.clear()
        return count
