"""A worker that no longer follows the log, although the log goes on."""

from flask_sse_hub.hub.deafness import DEAF_SECONDS
from tests.kit.hand import HandHub


def test_a_worker_that_stands_still_behind_the_head_becomes_deaf() -> None:
    """The time counts from the first look that saw it behind."""
    hub = HandHub()
    hub.publish("a")
    assert hub.hub.deaf_seconds(hub.broker.head()) == 0.0
    hub.clock.advance(DEAF_SECONDS)
    assert hub.hub.deaf_seconds(hub.broker.head()) == DEAF_SECONDS
    hub.bring()
    assert hub.hub.deaf_seconds(hub.broker.head()) == 0.0


def test_a_quiet_log_makes_nobody_deaf() -> None:
    """The position is the head."""
    hub = HandHub()
    for _ in range(3):
        assert hub.hub.deaf_seconds(hub.broker.head()) == 0.0
        hub.clock.advance(100.0)


def test_a_worker_that_moves_is_slow_and_not_deaf() -> None:
    """A flood may keep a worker behind the head for long."""
    hub = HandHub()
    for _ in range(3):
        hub.publish("a")
        hub.bring()
        hub.publish("b")
        assert hub.hub.deaf_seconds(hub.broker.head()) == 0.0
        hub.clock.advance(DEAF_SECONDS)


def test_a_worker_that_has_not_begun_is_not_deaf() -> None:
    """Health says that it does not follow the log yet."""
    hub = HandHub(begun=False)
    hub.publish("a")
    hub.clock.advance(DEAF_SECONDS)
    assert hub.hub.deaf_seconds(hub.broker.head()) == 0.0
