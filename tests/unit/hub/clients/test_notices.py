"""Notices: the app's own code is told about each connect and disconnect."""

import logging
import threading
from collections.abc import Iterator

import pytest

from flask_sse_hub import CloseReason
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.client_stats import Written
from flask_sse_hub.hub.clients.notices import Listeners, Notices
from flask_sse_hub.hub.tally import Tally
from tests.kit.hand import HandSink
from tests.kit.reader import wait_until


class Timeout(BaseException):
    """An error that is no Exception, such as gevent's Timeout."""


NOTHING = Written(0, 0, 0.0)


def a_client() -> Client:
    return Client("c", identity=Identity(), sink=HandSink())


def notices_of(told: list[CloseReason], tally: Tally | None = None) -> Notices:
    return Notices(
        Listeners(
            connected=lambda stats: None,
            disconnected=lambda stats, reason: told.append(reason),
        ),
        tally=tally or Tally(),
        clock=lambda: 0.0,
    )


@pytest.fixture(params=[RuntimeError, Timeout, SystemExit])
def failing_filter(request: pytest.FixtureRequest) -> Iterator[None]:
    """A log filter that fails because it needs a request context."""

    def fail(record: logging.LogRecord) -> bool:
        raise request.param("outside of a request")

    logger = logging.getLogger("flask_sse_hub.hub.clients.notices")
    level = logger.level
    logger.addFilter(fail)
    logger.setLevel(logging.INFO)
    yield
    logger.removeFilter(fail)
    logger.setLevel(level)


def test_nobody_is_told_while_nobody_listens() -> None:
    """Most apps have no receivers, and telling them costs each end a switch."""
    told: list[object] = []
    listening = [False]
    listeners = Listeners(
        connected=told.append,
        disconnected=lambda stats, reason: told.append(reason),
        listen=lambda: listening[0],
    )
    tally = Tally()
    notices = Notices(listeners, tally=tally, clock=lambda: 0.0)
    notices.came(a_client(), NOTHING)
    notices.left(a_client(), NOTHING, CloseReason.AGE, beside=True)
    assert not notices.waiting
    listening[0] = True
    notices.left(a_client(), NOTHING, CloseReason.EVICTED, beside=True)
    notices.tell_waiting()
    assert told == [CloseReason.EVICTED]
    assert (tally.opened, tally.closed.total()) == (1, 2)


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
    notices.log_waiting()
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


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, Timeout, SystemExit])
def test_a_receiver_that_raises_anything_ends_nothing(
    error: type[BaseException], beside: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread that calls receivers serves all later disconnects too.

    Each of the two receivers fails at a line of its own, which is logged once.
    """
    told: list[CloseReason] = []

    def disconnected(stats: object, reason: CloseReason) -> None:
        told.append(reason)
        raise error("a bug")

    def connected(stats: object) -> None:
        raise error("a bug")

    listeners = Listeners(connected=connected, disconnected=disconnected)
    notices = Notices(listeners, tally=Tally(), clock=lambda: 0.0)
    notices.came(a_client(), NOTHING)
    notices.left(a_client(), NOTHING, CloseReason.AGE, beside=beside)
    notices.left(a_client(), NOTHING, CloseReason.STALLED, beside=beside)
    notices.tell_waiting()
    assert told == [CloseReason.AGE, CloseReason.STALLED]
    assert caplog.text.count("a receiver of a client signal failed") == 2


def test_a_disconnect_with_beside_is_logged_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A slow log handler does not hold up the thread that writes to all clients."""
    caplog.set_level(logging.INFO)
    notices = notices_of([])
    notices.left(a_client(), NOTHING, CloseReason.AGE, beside=True)
    assert "ended" not in caplog.text
    assert notices.waiting
    notices.log_waiting()
    assert "ended: age after 0.0 s, 0 events, 0 bytes" in caplog.text


def test_lines_that_a_slow_log_handler_loses_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The lines that wait have a bound, and the log says how many are missing."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("flask_sse_hub.hub.clients.notices._MAX_WAITING", 1)
    notices = Notices(None, tally=Tally(), clock=lambda: 0.0)
    for _ in range(3):
        notices.left(a_client(), NOTHING, CloseReason.AGE, beside=True)
    notices.log_waiting()
    assert caplog.text.count("ended: age") == 1
    assert "2 lines about streams that ended are missing" in caplog.text


def test_ends_that_wait_at_the_stop_are_told_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hub that is closed drops no line and no signal."""
    caplog.set_level(logging.INFO)
    told: list[CloseReason] = []
    notices = notices_of(told)
    notices.left(a_client(), NOTHING, CloseReason.AGE, beside=True)
    threads = [
        threading.Thread(target=notices.run),
        threading.Thread(target=notices.run_log),
    ]
    for each in threads:
        each.start()
    wait_until(lambda: not notices.waiting)
    notices.stop()
    for each in threads:
        each.join(10.0)
    assert told == [CloseReason.AGE]
    assert "ended: age" in caplog.text
