"""Run the tests that are rows of docs/compatibility.md, and write that page.

With arguments for pytest, such as a file or ``-k limiter``, print the page instead.
"""

import sys

import pytest

from tests.compat.table import PAGE, ROOT, Results, page


def main(*some: str) -> int:
    """Return the exit status of pytest."""
    results = Results()
    words = ["-q", "-p", "no:cacheprovider", "-m", "compat"]
    status = pytest.main([*words, *(some or [str(ROOT / "tests")])], plugins=[results])
    text = page(results.by_row())
    if some:
        print(text)
    elif results.by_row():
        PAGE.write_text(text)
        print(f"The table is in {PAGE.relative_to(ROOT)}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
