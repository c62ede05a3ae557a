"""Run the contract in each engine, and write the table of docs/browser.md."""

import sys

import pytest

from tests.browser.engines.table import CONTRACT, PAGE, Results, written


def main() -> int:
    """Return the exit status of pytest."""
    results = Results()
    words = ["-q", "-p", "no:cacheprovider", *CONTRACT]
    status = pytest.main(words, plugins=[results])
    PAGE.write_text(written(PAGE.read_text(), results.table()))
    print(results.table())
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
