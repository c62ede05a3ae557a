"""A new hub for one test, in an app that may exist longer than the test.

Knows how to find and replace an app's hub. Does not know streams or logs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from ..errors import ConfigurationError, InvalidOption
from ..web.app_state import AppState
from .clock import Clock


def state_of(app: Flask) -> AppState:
    """Return the extension's state of an app.

    Raises ConfigurationError if ``app`` is not a Flask app, or has no hub.
    """
    if not isinstance(app, Flask):
        raise InvalidOption(
            f"app must be a Flask app, not {type(app).__name__}: pass the object that"
            " sse_hub.init_app() received"
        )
    found = app.extensions.get("sse_hub")
    if not isinstance(found, AppState):
        raise ConfigurationError(
            f"the app {app.name!r} has no hub: call sse_hub.init_app(app)"
        )
    return found


@contextmanager
def fresh_hub(app: Flask, *, clock: Clock | None = None) -> Iterator[Flask]:
    """Give an app a new hub within the block, and close the hub at its end.

    Tests that share an app then share neither streams nor a log in memory. With a
    ``clock``, the hub's heartbeats, ages, limits and revalidation follow it, and so do
    retention and tickets. For example::

        with fresh_hub(app):
            assert sse_hub.stats().connections == 0

    Args:
        app: The app that ``SSEHub`` has served so far.
        clock: The clock that the new hub follows. None: the time of the machine.

    Raises:
        ConfigurationError: The app has no hub.

    """
    state = state_of(app)
    state.close()
    before = state.clock, state.time_of_day
    if clock is not None:
        state.clock, state.time_of_day = clock, clock.time_of_day
        clock.keep_time_of(state.hub)
    try:
        yield app
    finally:
        state.close()
        state.clock, state.time_of_day = before
