"""The plots of the page, one file each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare.results import Results
from benchmarks.compare.scenarios import SCENARIOS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS = "#1b6ca8"
_OTHERS = "#b8c4ce"
_FLOOR = "#5b6770"


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars of one figure in some scenarios. Shorter bars are better."""

    title: str
    scenarios: tuple[str, ...]
    key: str
    digits: int = 1


#: The panels of each plot, side by side, by the name of its file.
PLOTS = {
    "delivery": (
        Panel("CPU µs per delivery, 5,000 clients", ("paced",), "delivery_us"),
        Panel("a burst of 500 events", ("burst",), "delivery_us"),
        Panel("15,000 clients", ("many",), "delivery_us"),
    ),
    "latency": (
        Panel("ms to the last of 5,000 clients, p99", ("paced",), "last_p99_ms", 0),
        Panel("... of 15,000 clients", ("many",), "last_p99_ms", 0),
    ),
    "requests": (
        Panel("ms of a request during a fan-out, p50", ("requests",), "p50_ms"),
        Panel("p99", ("requests",), "p99_ms"),
    ),
    "memory": (Panel("KiB per idle client", ("paced", "memory"), "memory_kib"),),
}


def draw(results: Results, folder: Path) -> None:
    """Write the plots that have figures."""
    # Only needed for drawing: pip install flask-sse-hub[bench].
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures give the same file, and its text can be searched.
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"})
    from matplotlib import pyplot

    for name, panels in PLOTS.items():
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(5.5 * len(panels), 3.4), squeeze=False
        )
        for panel, axis in zip(panels, axes[0], strict=True):
            _bars(axis, panel, results)
        figure.tight_layout()
        figure.savefig(folder / f"benchmarks-{name}.svg", metadata={"Date": None})
        pyplot.close(figure)


def bars(panel: Panel, results: Results) -> list[tuple[str, str, float]]:
    """Return name, label and median of each server that was measured, in order."""
    found = []
    for scenario in SCENARIOS:
        for kind in scenario.peers if scenario.name in panel.scenarios else ():
            value = results.median((scenario.name, kind.name), panel.key)
            if value is not None:
                found.append((kind.name, kind.label, value))
    return found


def _bars(axis: "Axes", panel: Panel, results: Results) -> None:
    found = bars(panel, results)[::-1]
    colours = [_colour(name, label) for name, label, _ in found]
    values = [value for _, _, value in found]
    drawn = axis.barh(_short(found), values, color=colours)
    axis.bar_label(drawn, fmt=f"%.{panel.digits}f", padding=3, fontsize=8)
    axis.set_title(panel.title, fontsize=10, loc="left")
    axis.set_xlim(0, 1.15 * max(values, default=1.0))
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _short(found: Sequence[tuple[str, str, float]]) -> list[str]:
    """Return labels without the server software, which the page's tables have."""
    return [label.partition(" on ")[0].partition(":")[0] for _, label, _ in found]


def _colour(name: str, label: str) -> str:
    if label.startswith("flask_sse_hub"):
        return _OURS
    return _FLOOR if name == "floor" else _OTHERS
