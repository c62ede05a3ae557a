"""The results of all rounds, and their medians."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.compare.scenarios import Figures

#: A cell of a table: the name of a scenario and the name of a server.
Cell = tuple[str, str]


@dataclass(slots=True)
class Results:
    """The figures of all rounds. A failed cell has none."""

    rounds: int
    figures: dict[Cell, list[Figures]] = field(default_factory=dict)
    #: The reason why a server has no figures in a scenario.
    failures: dict[Cell, str] = field(default_factory=dict)
    #: How a server delivered its streams, as it reports.
    served: dict[Cell, str] = field(default_factory=dict)
    #: Labels of the servers that were left out, with the reasons.
    absent: dict[str, str] = field(default_factory=dict)
    #: Labels of the other servers, with their versions.
    versions: dict[str, str] = field(default_factory=dict)

    def add(self, cell: Cell, figures: Figures) -> None:
        """Keep the figures of one round."""
        self.figures.setdefault(cell, []).append(figures)

    def fail(self, cell: Cell, why: str) -> None:
        """Note a failure, and drop the figures that other rounds gave for this cell."""
        self.failures[cell] = why
        self.figures.pop(cell, None)

    def values(self, cell: Cell, key: str) -> list[float]:
        """Return a figure of all rounds; an empty list if it was not measured."""
        return list(self._values(cell, key))

    def median(self, cell: Cell, key: str) -> float | None:
        """Return the median of a figure, or None if it was not measured."""
        found = self.values(cell, key)
        return statistics.median(found) if found else None

    def ratio(self, cell: Cell, key: str, *, to: str) -> float | None:
        """Return a median as a multiple of another server's in the same scenario."""
        one, other = self.median(cell, key), self.median((cell[0], to), key)
        return one / other if one is not None and other else None

    def _values(self, cell: Cell, key: str) -> Iterator[float]:
        for figures in self.figures.get(cell, []):
            if key in figures:
                yield figures[key]
