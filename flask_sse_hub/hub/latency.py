"""Latencies: how long something took, counted by ranges of seconds.

A count is a few bytes, however many times are observed, and the counts of several
workers can be added up.
"""

from bisect import bisect_left
from dataclasses import dataclass

#: The upper bounds of the ranges, in seconds. A local delivery takes under a
#: millisecond, and a broker's caller gives up after five seconds.
BOUNDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


@dataclass(frozen=True, slots=True)
class LatencyCounts:
    """How often something took how long."""

    #: How many times were observed, and their sum in seconds.
    count: int
    seconds: float
    #: How many of the times are in each range; the last range has no upper bound.
    ranges: tuple[int, ...]

    def plus(self, other: "LatencyCounts") -> "LatencyCounts":
        """Return the counts of both."""
        return LatencyCounts(
            self.count + other.count,
            self.seconds + other.seconds,
            tuple(map(sum, zip(self.ranges, other.ranges, strict=True))),
        )


class Latency:
    """Count how long something takes. Observing costs less than a microsecond."""

    __slots__ = ("_ranges", "_seconds")

    def __init__(self) -> None:
        self._ranges = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count a time. Clocks of two machines may differ: a time below 0 is 0."""
        seconds = max(0.0, seconds)
        self._ranges[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds

    def counts(self) -> LatencyCounts:
        """Return the counts so far."""
        ranges = tuple(self._ranges)
        return LatencyCounts(sum(ranges), self._seconds, ranges)
