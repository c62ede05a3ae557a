"""Notices: the app's own code is told about each connect and disconnect."""

import logging
from collections.abc import Iterator

import pytest

from flask_sse_hub import CloseReason
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.client_stats import Written
from flask_sse_hub.hub.clients.notices import Listeners, Notices
from flask_sse_hub.hub.tally import Tally

NOTHING = Written(0, 0, 0.0)


def a_client() -> Client:
    return Client("c", identity=Identity())


def notices_of(told: list[CloseReason], tally: Tally | None = None) -> Notices:
    return Notices(
        Listeners(
            connected=lambda stats: None,
            disconnected=lambda stats, reason: told.append(reason),
        ),
        tally=tally or Tally(),
        clock=lambda: 0.0,
    )


@pytest.fixture
def failing_filter() -> Iterator[None]:
    """A log filter that fails because it needs a request context."""

    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("outside of a request")

    logger = logging.getLogger("flask_sse_hub.hub.clients.notices")
    level = logger.level
    logger.addFilter(fail)
    logger.setLevel(logging.INFO)
    yield
    logger.removeFilter(fail)
    logger.setLevel(level)


def test_disconnects_with_beside_are_told_later_and_in_order() -> None:
    """A thread that serves all clients does not wait for receivers."""
    told: list[CloseReason] = []
    notices = notices_of(told)
    notices.left(a_client(), NOTHING, CloseReason.AGE, beside=True)
    notices.left(a_client(), NOTHING, CloseReason.STALLED, beside=True)
    assert told == []
    notices.tell_waiting()
    assert told == [CloseReason.AGE, CloseReason.STALLED]


def test_receivers_that_never_return_hold_up_no_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Disconnects beyond the bound are only logged and not sent to receivers."""
    told: list[CloseReason] = []
    tally = Tally()
    notices = notices_of(told, tally)
    monkeypatch.setattr("flask_sse_hub.hub.clients.notices._MAX_WAITING", 1)
    for _ in range(2):
        notices.left(a_client(), NOTHING, CloseReason.AGE, beside=True)
    notices.tell_waiting()
    assert told == [CloseReason.AGE]
    assert "too slow" in caplog.text
    assert tally.closed == {"age": 2}


@pytest.mark.usefixtures("failing_filter")
def test_a_failing_log_filter_does_not_stop_the_disconnect() -> None:
    """The thread that ends a stream serves all other clients too."""
    told: list[CloseReason] = []
    notices = notices_of(told)
    notices.left(a_client(), NOTHING, CloseReason.AGE)
    assert told == [CloseReason.AGE]
