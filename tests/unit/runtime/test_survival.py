"""Survival: the app's own code ends no loop that serves every stream."""

import pytest

from flask_sse_hub.runtime.survival import surviving


class Timeout(BaseException):
    """An error that is no Exception, such as gevent's Timeout."""


@pytest.mark.parametrize("error", [ValueError, Timeout, SystemExit, GeneratorExit])
def test_code_after_the_block_runs_whatever_was_raised(
    error: type[BaseException],
) -> None:
    """The report is made while the error is handled."""
    said: list[str] = []
    with surviving(lambda: said.append("failed")):
        raise error
    assert said == ["failed"]


def test_a_report_that_fails_is_dropped() -> None:
    """A log filter of the app may fail at the line about its own error."""

    def fail() -> None:
        raise Timeout

    with surviving(fail):
        raise ValueError


def test_ctrl_c_is_passed_on() -> None:
    """Ctrl-C may reach any greenlet, and has to end the program."""
    with pytest.raises(KeyboardInterrupt), surviving():
        raise KeyboardInterrupt
