"""What has been measured, and its medians."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.compare.scenarios import Figures

#: Whom a cell is about: a scenario's name and a server's.
Cell = tuple[str, str]


@dataclass(slots=True)
class Results:
    """The figures of all rounds; what failed has none."""

    rounds: int
    figures: dict[Cell, list[Figures]] = field(default_factory=dict)
    #: Why a server has no figures in a scenario.
    failures: dict[Cell, str] = field(default_factory=dict)
    #: What a server said of how it served.
    served: dict[Cell, str] = field(default_factory=dict)
    #: Labels of the servers that were left out, and why.
    absent: dict[str, str] = field(default_factory=dict)
    #: Labels of the others, and their versions.
    versions: dict[str, str] = field(default_factory=dict)

    def add(self, cell: Cell, figures: Figures) -> None:
        """Keep the figures of one round."""
        self.figures.setdefault(cell, []).append(figures)

    def fail(self, cell: Cell, why: str) -> None:
        """Have no figures of a server in a scenario, not those of its better rounds."""
        self.failures[cell] = why
        self.figures.pop(cell, None)

    def values(self, cell: Cell, key: str) -> list[float]:
        """Return a figure of all rounds; nothing where it was not measured."""
        return list(self._values(cell, key))

    def median(self, cell: Cell, key: str) -> float | None:
        """Return the median of a figure, None where it was not measured."""
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
