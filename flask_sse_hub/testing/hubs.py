"""A hub of a test's own, for an app that may be older than the test.

Finds the app's hub, and replaces it; what streams and logs are is not its business.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from ..errors import ConfigurationError
from ..web.app_state import AppState
from .clock import Clock


def state_of(app: Flask) -> AppState:
    """Return what the extension keeps for an app; raises ConfigurationError."""
    if not isinstance(app, Flask):
        raise ConfigurationError(f"a Flask app is needed, not {type(app).__name__}")
    found = app.extensions.get("sse_hub")
    if not isinstance(found, AppState):
        raise ConfigurationError(
            f"the app {app.name!r} has no hub: call sse_hub.init_app(app)"
        )
    return found


@contextmanager
def fresh_hub(app: Flask, *, clock: Clock | None = None) -> Iterator[Flask]:
    """Give an app a new hub for this block, and close it at the end.

    So tests that share an app share no streams, nor a log in memory. With a ``clock``
    the hub's heartbeats, ages, limits and revalidation go by it, and so do retention
    and tickets. Raises ConfigurationError where the app has no hub.
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
