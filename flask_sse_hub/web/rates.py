"""Rates: how often something may happen in one process of an app.

Knows the package ``limits``, which is needed only where a rate is configured. Does not
know requests, or the things that are counted.
"""

from collections.abc import Sequence
from typing import Any

from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog

log = CodedLog(__name__)


def parse_rate(rate: str) -> list[Any]:
    """Return the limits in a text such as "10/second; 200/minute".

    Raises ValueError if the text is no rate, or the package ``limits`` is missing.
    """
    try:
        from limits import parse_many
    except ImportError as error:
        raise ValueError(
            "the package limits is needed: pip install 'flask-sse-hub[limits]'"
        ) from error
    return list(parse_many(rate))


def at_most(amount: float, *, seconds: float) -> list[Any]:
    """Return the limit of an amount in some seconds; at least 1 of each."""
    from limits import RateLimitItemPerSecond

    return [RateLimitItemPerSecond(max(1, int(amount)), max(1, int(seconds)))]


class Rates:
    """Count what happens for each key. ``setting`` names the setting of the rates."""

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._rare_log = RareLog(log)
        self._limiter: Any = None

    def allow(self, key: str, limits: Sequence[Any], *, count: int = 1) -> bool:
        """Count ``count`` more for a key, and tell whether all limits allow them now.

        What is not allowed by one limit is not counted by any.
        """
        if not limits:
            return True
        try:
            return self._hit(key, limits, count)
        except RuntimeError as error:
            # limits starts a thread, and the process may have no room for one. A 500
            # would end a native EventSource for good; a refusal lets it come back.
            self._rare_log.warning(
                "SSE-1512",
                f"requests are refused, because {self._setting} cannot be counted:"
                f" {error}",
            )
            return False

    def _hit(self, key: str, limits: Sequence[Any], count: int) -> bool:
        if self._limiter is None:
            # Created at the first use: the storage starts a thread, and a process that
            # only loads the app or forks workers must not have one.
            from limits.storage import MemoryStorage
            from limits.strategies import FixedWindowRateLimiter

            self._limiter = FixedWindowRateLimiter(MemoryStorage())
        limiter = self._limiter
        return all(limiter.test(each, key, cost=count) for each in limits) and all(
            limiter.hit(each, key, cost=count) for each in limits
        )
