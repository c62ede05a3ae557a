"""The table of docs/compatibility.md has the rows of the tests, and their results."""

from pathlib import Path

import pytest

from tests.compat import table
from tests.compat.table import FAILS, NOT_RUN, Results, Row, page, rows_in_page

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from tests.compat.table import compat

@compat("pytest", "none", "passing")
def test_passing(): pass

@compat("pytest", "none", "refused", result="refused, with the remedy")
def test_refused(): pass

@compat("pytest", "none", "failing")
def test_failing(): assert False

@compat("pytest", "none", "half failing")
@pytest.mark.parametrize("good", [True, False])
def test_half(good): assert good

@compat("pytest", "none", "failing teardown")
def test_teardown(request): request.addfinalizer(lambda: 1 / 0)

@compat("no-such-package", "none", "skipped")
def test_skipped(): pytest.skip("absent")

@pytest.mark.parametrize(
    "n", [pytest.param(1, marks=compat("flask", "none", "one of several"))]
)
def test_several(n): pass

def test_no_row(): assert False
"""

RESULTS = {
    Row("pytest", "none", "passing"): "works",
    Row("pytest", "none", "refused", "refused, with the remedy"): (
        "refused, with the remedy"
    ),
    Row("pytest", "none", "failing"): FAILS,
    Row("pytest", "none", "half failing"): FAILS,
    Row("pytest", "none", "failing teardown"): FAILS,
    Row("no-such-package", "none", "skipped"): NOT_RUN,
    Row("flask", "none", "one of several"): "works",
}


def test_the_page_has_a_row_for_each_marked_test() -> None:
    """``make compat`` writes the page; a row without a test would be a mere claim."""
    wanted = {row[:3] for row in table.rows_in_code()}
    assert rows_in_page(table.PAGE.read_text()) == wanted


def test_a_row_has_the_result_of_its_worst_test(pytester: pytest.Pytester) -> None:
    """A test that fails, or was not run, can be seen in the table."""
    results = Results()
    pytester.makeini("[pytest]\nmarkers = compat(row): a row")
    path = pytester.makepyfile(test_rows=TESTS)
    pytester.inline_run("-q", path, plugins=[results])
    assert results.by_row() == RESULTS


def test_rows_are_found_without_running_tests(tmp_path: Path) -> None:
    """Otherwise comparing the page would import every test."""
    (tmp_path / "test_rows.py").write_text(TESTS)
    assert table.rows_in_code(tmp_path) == set(RESULTS)


def test_a_row_names_the_installed_version() -> None:
    """Of packages of Python and npm; a missing package has none."""
    text = page(RESULTS)
    assert f"| pytest | {pytest.__version__} | none | failing | {FAILS} |" in text
    assert "| no-such-package |  | none | skipped | not run |" in text
    assert rows_in_page(text) == {row[:3] for row in RESULTS}
    assert table.version_of("htmx.org").count(".") == 2
    assert table.version_of("git")
