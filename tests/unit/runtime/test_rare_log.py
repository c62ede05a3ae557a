"""A log that strangers cannot fill."""

import pytest

from flask_sse_hub.runtime.coded_log import CodedLog
from flask_sse_hub.runtime.rare_log import RareLog, Trouble
from flask_sse_hub.testing import Clock


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def log(clock: Clock) -> RareLog:
    """Return a log that goes by the clock."""
    return RareLog(CodedLog(__name__), clock=clock)


def test_a_kind_of_line_is_logged_once_a_minute(
    log: RareLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A line says how many like it were left out since the last one."""
    for _ in range(5):
        log.warning("SSE-0001", "the %s is full", "house")
    log.error("SSE-0002", "the house is broken")
    clock.advance(60.0)
    log.warning("SSE-0001", "the %s is full", "house")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the house is full [SSE-0001]"),
        ("ERROR", "the house is broken [SSE-0002]"),
        ("WARNING", "the house is full (4 more since the last such line) [SSE-0001]"),
    ]


def test_each_cause_of_an_error_is_logged_once_a_minute(
    log: RareLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors of one class and line of the program are one cause; others are another."""
    for text in ("1a", "2b", ""):
        try:
            text.encode("no codec") if not text else int(text)
        except (ValueError, LookupError):
            log.exception("SSE-0001", "a receiver failed")
    kinds = [each.exc_info[0] for each in caplog.records if each.exc_info]
    assert kinds == [ValueError, LookupError]


def test_the_memory_of_causes_is_bounded(
    log: RareLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Of very many kinds the oldest are forgotten, and logged again."""
    for kind in (*range(201), 0, 200):
        log.warning("SSE-0001", "kind %d", kind, kind=kind)
    assert len(caplog.records) == 202


def test_a_trouble_counts_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """Each of its texts is news once, however they alternate."""
    trouble = Trouble()
    told = [trouble.is_news(text) for text in ("refused", "timeout", "refused")]
    assert told == [True, True, False]
    assert trouble.is_over() == 3
    assert trouble.is_over() == 0
    assert trouble.is_news("refused")


def test_texts_that_are_never_the_same_do_not_fill_the_log() -> None:
    """An error may show a port or a time."""
    trouble = Trouble()
    assert sum(trouble.is_news(f"port {port}") for port in range(1000)) == 10
