"""The three figures of the README, taken from measurements.

Two come from the tables of docs/benchmarks.md, which ``benchmarks.compare`` writes. The
third is measured here: logouts on one worker that end a stream on another worker.

``python -m benchmarks.figures --write`` writes them into README.md.
"""

import argparse
import re
import statistics
import sys
from pathlib import Path

from benchmarks.logout import logouts
from tests.live.server import Server

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "docs/benchmarks.md"
README = ROOT / "README.md"

PACED = "One event at a time to 5,000 idle clients"
MEMORY = "Memory of idle clients"

OURS = "flask_sse_hub, by socket"
FLOOR = "floor: a loop of write() in C"
FLASK_SSE = "Flask-SSE on gunicorn gevent + Redis"

_BLOCK = re.compile(
    r"(?<=\|---\|---\|---\|\n)(?:\|.*\n)*(?=<!-- The end of the figures\. -->)"
)


def figure(page: str, section: str, row: str, column: str) -> str:
    """Return a cell of a table in docs/benchmarks.md, without its range in brackets.

    Raises LookupError if the page has no such section, row or column.
    """
    _, found, rest = page.partition(f"## {section}\n")
    if not found:
        raise LookupError(f"docs/benchmarks.md has no section {section!r}")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in rest.partition("\n## ")[0].splitlines()
        if line.startswith("|")
    ]
    for cells in rows[1:]:
        if cells[0] == row and column in rows[0]:
            return cells[rows[0].index(column)].partition(" (")[0]
    raise LookupError(f"{section}: docs/benchmarks.md has no {column!r} of {row!r}")


def rows(page: str, *, logout: float, request: float) -> str:
    """Return the rows of the README's table, for the text of docs/benchmarks.md.

    ``logout`` and ``request`` are times in seconds.
    """
    delivery, memory = (
        {row: figure(page, section, row, column) for row in (OURS, FLASK_SSE, *others)}
        for section, column, others in (
            (PACED, "CPU µs per delivery", (FLOOR,)),
            (MEMORY, "KiB per client", ()),
        )
    )
    lines = [
        (
            "CPU time per delivery, 5,000 clients",
            f"{delivery[OURS]} µs",
            f"a loop in C {delivery[FLOOR]} µs, Flask-SSE {delivery[FLASK_SSE]} µs",
        ),
        (
            "memory per idle client",
            f"{memory[OURS]} KiB",
            f"Flask-SSE {memory[FLASK_SSE]} KiB",
        ),
        (
            "from a logout to the closed stream on another worker",
            f"{logout * 1e3:.1f} ms",
            f"a request that does nothing {request * 1e3:.1f} ms",
        ),
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def with_rows(readme: str, rows: str) -> str:
    """Return the README with other rows. Raises LookupError if it has no table."""
    text, count = _BLOCK.subn(rows, readme)
    if count != 1:
        raise LookupError("README.md has no table of figures")
    return text


def main() -> int:
    """Print the rows, and write them with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write README.md")
    asked = parser.parse_args()
    with Server(args="--workers 2") as server:
        ends, requests = logouts(server)
    found = rows(
        BENCHMARKS.read_text(),
        logout=statistics.median(ends),
        request=statistics.median(requests),
    )
    print(found)
    if asked.write:
        README.write_text(with_rows(README.read_text(), found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
