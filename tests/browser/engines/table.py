"""The table of docs/browser.md: each check of the contract, in each engine."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/browser.md"
CONTRACT = ("tests/browser/test_engines.py", "tests/browser/test_standard.py")

_BEGIN = "<!-- `make engines` writes from here -->\n"
_END = "<!-- to here -->\n"

#: A check and an engine.
Cell = tuple[str, str]


def checks() -> dict[str, str]:
    """Return each check by the name of its test, as its docstring describes it."""
    return {
        node.name: _spoken(node.name)
        for path in CONTRACT
        for node in ast.parse((ROOT / path).read_text()).body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and any(arg.arg in ("engine", "visitor", "tabs") for arg in node.args.args)
    }


def _spoken(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


class Results:
    """A pytest plugin that collects the result of each check in each engine."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self._found: dict[Cell, set[str]] = {}

    def pytest_runtest_teardown(self, item: pytest.Function) -> None:
        """Note the version of the engine."""
        engine: Any = item.funcargs.get("engine")
        if engine is not None:
            self.versions[engine.name] = engine.version

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome, or the text that a test records instead."""
        name, _, parameters = report.location[2].partition("[")
        properties = dict(report.user_properties)
        engine = next(
            (each for each in ("chromium", "firefox", "webkit") if each in parameters),
            None,
        )
        if engine is None or (report.when != "call" and report.passed):
            return
        works = str(properties.get("shows", "yes"))
        result = works if report.passed else f"**{report.outcome}**"
        self._found.setdefault((name, engine), set()).add(result)

    def table(self) -> str:
        """Return the table in Markdown."""
        engines = sorted(self.versions)
        heads = [f"{name} {self.versions[name]}" for name in engines]
        lines = [_row("check", *heads), _row(*["---"] * (1 + len(engines)))]
        for name, text in checks().items():
            cells = [sorted(self._found.get((name, each), {""})) for each in engines]
            lines.append(_row(text, *map(", ".join, cells)))
        return "".join(lines)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def written(page: str, table: str) -> str:
    """Return the page with this table."""
    return between(page, _BEGIN, table)


def between(page: str, begin: str, table: str) -> str:
    """Return the page with another table between two of its comments."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(_END)
    return f"{before}{begin}{table}{_END}{after}"


def rows(page: str, begin: str = _BEGIN) -> Mapping[str, list[str]]:
    """Return the cells of each row of the table after a comment, by the first cell."""
    _, _, rest = page.partition(begin)
    table, _, _ = rest.partition(_END)
    found = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()[2:]
    ]
    return {check: cells for check, *cells in found}
