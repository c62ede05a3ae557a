"""The table of engines in docs/browser.md has a row for each check of the contract."""

from tests.browser.engines import ENGINES
from tests.browser.engines.table import PAGE, checks, rows


def test_the_page_has_a_row_for_each_check() -> None:
    """`make engines` writes the table; a row without a test would be a mere claim."""
    found = rows(PAGE.read_text())
    assert [*found] == [*checks().values()]
    assert {len(cells) for cells in found.values()} == {len(ENGINES)}
    assert "failed" not in str(found)
