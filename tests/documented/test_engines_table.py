"""The tables of engines in docs/browser.md have a row for each check and navigation."""

from benchmarks.navigations import CASES, MARKER, WAYS
from tests.browser.engines import ENGINES
from tests.browser.engines.table import PAGE, checks, rows


def test_the_page_has_a_row_for_each_check() -> None:
    """`make engines` writes the table; a row without a test would be a mere claim."""
    found = rows(PAGE.read_text())
    assert [*found] == [*checks().values()]
    assert {len(cells) for cells in found.values()} == {len(ENGINES)}
    assert "failed" not in str(found)


def test_the_page_has_a_row_for_each_navigation() -> None:
    """`make bench-navigations` writes the table of all engines at once."""
    found = rows(PAGE.read_text(), MARKER)
    assert [*found] == [f"{engine}: {case}" for engine in ENGINES for case in CASES]
    assert {len(cells) for cells in found.values()} == {len(WAYS)}
