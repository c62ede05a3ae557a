"""The README's figures are those of docs/benchmarks.md."""

from pathlib import Path

import pytest

from benchmarks.figures import BENCHMARKS, README, figure, rows, with_rows

PAGE = """
## Memory

|  | clients | KiB per client |
| --- | ---: | ---: |
| ours | 5,000 | 1.52 (1.41 - 1.57) |

## Next

| ours | 1 |
"""


def test_a_figure_is_a_cell_without_its_range() -> None:
    """The README shows medians."""
    assert figure(PAGE, "Memory", "ours", "KiB per client") == "1.52"


@pytest.mark.parametrize(
    ("section", "row", "column"),
    [
        ("Disk", "ours", "KiB per client"),
        ("Memory", "theirs", "KiB per client"),
        ("Memory", "ours", "MiB per client"),
    ],
)
def test_a_figure_that_is_not_there_is_an_error(
    section: str, row: str, column: str
) -> None:
    """A renamed row cannot leave an old figure in the README."""
    with pytest.raises(LookupError):
        figure(PAGE, section, row, column)


def test_the_rows_of_the_readme_are_those_of_the_benchmarks() -> None:
    """The times of a logout are measured when the rows are written."""
    found = rows(BENCHMARKS.read_text(), logout=0.0012, request=0.0004)
    *measured, logout = found.splitlines()
    readme = README.read_text()
    assert all(line in readme for line in measured)
    assert "| 1.2 ms | a request that does nothing 0.4 ms |" in logout


def test_new_rows_replace_the_old_rows(tmp_path: Path) -> None:
    """Everything else of the README stays as it is."""
    readme = README.read_text()
    once = with_rows(readme, "| a | b | c |\n")
    assert "| a | b | c |\n<!-- The end of the figures. -->" in once
    assert with_rows(once, "| d | e | f |\n") == once.replace(
        "| a | b | c |", "| d | e | f |"
    )


def test_a_readme_without_the_table_is_an_error() -> None:
    """The figures must not vanish without a word."""
    with pytest.raises(LookupError):
        with_rows("# A page\n", "| a | b | c |\n")
