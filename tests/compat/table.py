"""The table in docs/compatibility.md: one row for each package, server and attempt.

A test becomes a row by one line above it, wherever it is in ``tests/``::

    @compat("Flask-Limiter", "gunicorn gevent", "default limits beside streams")

Several tests may have the same row. ``make compat`` runs them and writes the page.
"""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.live.packages import folder_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/compatibility.md"

#: A result that a test shows by passing.
WORKS = "works"
FAILS = "**fails**"
NOT_RUN = "not run"

_HEAD = """# Compatibility

Packages and servers that were tried with this version. Each row is a test with the real
package. `make compat` runs these tests and writes this page. For some of the packages
[Other extensions](extensions.md) says what to set.

| package | version | server | tried | result |
|---|---|---|---|---|
"""


class Row(NamedTuple):
    """An attempt: a package, on a server, and the result if the test passes."""

    package: str
    server: str
    tried: str
    result: str = WORKS


def compat(
    package: str, server: str, tried: str, *, result: str = WORKS
) -> pytest.MarkDecorator:
    """Return a mark that makes a test a row of the table.

    ``package`` is the name of a package of Python or npm, or of a program. ``result``
    is the result that the test shows by passing, such as "refused, with the remedy".
    Write all of them as plain strings: the page is compared with the code.
    """
    return pytest.mark.compat(Row(package, server, tried, result))


def rows_in_code(folder: Path = ROOT / "tests") -> set[Row]:
    """Return the rows of all tests, without importing them."""
    return {
        Row(
            *map(ast.literal_eval, call.args),
            **{str(word.arg): ast.literal_eval(word.value) for word in call.keywords},
        )
        for path in folder.rglob("test_*.py")
        if "node_modules" not in path.parts
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "compat"
    }


def rows_in_page(page: str) -> set[tuple[str, str, str]]:
    """Return the package, the server and the attempt of each row of the page."""
    return {
        (package, server, tried)
        for package, _, server, tried, _ in map(_cells, page.splitlines())
        if package not in ("package", "---", "")
    }


def _cells(line: str) -> list[str]:
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    return cells if len(cells) == 5 else [""] * 5


def page(results: Mapping[Row, str]) -> str:
    """Return the text of docs/compatibility.md."""
    ordered = sorted(results, key=lambda row: (row.package.lower(), *row[1:]))
    return _HEAD + "".join(
        f"| {row.package} | {version_of(row.package)} | {row.server} | {row.tried}"
        f" | {results[row]} |\n"
        for row in ordered
    )


def version_of(package: str) -> str:
    """Return the version of an installed package or program."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        pass
    for found in metadata.distributions(name=package, path=[str(folder_of(package))]):
        return found.version
    described = ROOT / "tests/node_modules" / package / "package.json"
    if described.exists():
        return str(json.loads(described.read_text())["version"])
    for path in (ROOT / "tests/wheels").glob(f"{package}-*"):
        return _number_in(path.name)
    program = shutil.which(package) or shutil.which(package.lower())
    return "" if program is None else _version_said_by(program)


def _version_said_by(program: str) -> str:
    # Apache knows only -v. Of an unknown option it complains, with the time.
    for option in ("--version", "-v"):
        command = [program, option]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return _number_in(done.stdout)
    return ""


def _number_in(text: str) -> str:
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else ""


class Results:
    """A pytest plugin that collects the rows of a run, and their results."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}
        self._outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the rows of each test."""
        for item in items:
            rows = [mark.args[0] for mark in item.iter_markers("compat")]
            if rows:
                self._rows[item.nodeid] = rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the worst outcome of a test's setup, call and teardown."""
        if report.failed or self._outcomes.get(report.nodeid) == "failed":
            self._outcomes[report.nodeid] = "failed"
        elif report.skipped or report.when == "call":
            self._outcomes[report.nodeid] = report.outcome

    def by_row(self) -> dict[Row, str]:
        """Return the result of each row: that of its worst test."""
        found: dict[Row, str] = {}
        for row, tests in self._tests_by_row():
            outcomes = {self._outcomes.get(test, "skipped") for test in tests}
            if "failed" in outcomes:
                found[row] = FAILS
            else:
                found[row] = NOT_RUN if "skipped" in outcomes else row.result
        return found

    def _tests_by_row(self) -> Iterator[tuple[Row, list[str]]]:
        for row in {row for rows in self._rows.values() for row in rows}:
            yield row, [test for test, rows in self._rows.items() if row in rows]
