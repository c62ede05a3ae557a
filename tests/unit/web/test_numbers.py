"""Numbers of commands are finite."""

import pytest

from tests.conftest import MakeSite


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "words",
    [
        "doctor http://localhost --wait",
        "top --once --interval",
        "record --user 42 --minutes",
        "plan --streams 9 --events 1 --connects",
        "plan --streams 9 --events",
    ],
)
def test_a_number_that_is_none_is_refused(
    words: str, number: str, make_site: MakeSite
) -> None:
    """With nan every comparison is false, and so no bound refuses it."""
    runner = make_site().app.test_cli_runner()
    result = runner.invoke(args=["sse", *words.split(), number])
    assert result.exit_code == 2
    assert "not a finite number" in result.stderr or "not in the range" in result.stderr
