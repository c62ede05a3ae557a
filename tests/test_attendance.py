"""Attendance: who came and who left, told to the app's own code."""

import logging
from collections.abc import Iterator

import pytest

from flask_sse_hub import CloseReason
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.notices import Attendance, Listeners


def a_client() -> Client:
    return Client("c", identity=Identity())


def attendance_of(told: list[CloseReason]) -> Attendance:
    return Attendance(
        Listeners(
            connected=lambda stats: None,
            disconnected=lambda stats, reason: told.append(reason),
        ),
        clock=lambda: 0.0,
    )


@pytest.fixture
def failing_filter() -> Iterator[None]:
    """A filter of the log that reads the request, which is not there."""

    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("outside of a request")

    logger = logging.getLogger("flask_sse_hub.hub.clients.notices")
    level = logger.level
    logger.addFilter(fail)
    logger.setLevel(logging.INFO)
    yield
    logger.removeFilter(fail)
    logger.setLevel(level)


def test_ends_are_told_beside_in_their_order() -> None:
    """Whoever serves everybody does not wait for receivers."""
    told: list[CloseReason] = []
    attendance = attendance_of(told)
    attendance.left(a_client(), CloseReason.AGE, beside=True)
    attendance.left(a_client(), CloseReason.STALLED, beside=True)
    assert told == []
    attendance.tell_waiting()
    assert told == [CloseReason.AGE, CloseReason.STALLED]


def test_receivers_that_never_return_hold_nobody_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What they are not told any more is in the log."""
    told: list[CloseReason] = []
    attendance = attendance_of(told)
    monkeypatch.setattr("flask_sse_hub.hub.clients.notices._MAX_WAITING", 1)
    for _ in range(2):
        attendance.left(a_client(), CloseReason.AGE, beside=True)
    attendance.tell_waiting()
    assert told == [CloseReason.AGE]
    assert "too slow" in caplog.text
    assert attendance.ended == {"age": 2}


@pytest.mark.usefixtures("failing_filter")
def test_a_log_that_fails_does_not_matter() -> None:
    """Whoever ends streams serves everybody else too."""
    told: list[CloseReason] = []
    attendance = attendance_of(told)
    attendance.left(a_client(), CloseReason.AGE)
    assert told == [CloseReason.AGE]
