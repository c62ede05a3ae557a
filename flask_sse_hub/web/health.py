"""Health: whether this worker can serve streams now, and why not."""

from flask import request

from ..errors import BrokerUnavailable, ConfigurationError
from ..server.support import check_server
from .app_state import AppState


def unready(state: AppState) -> str | None:
    """Return why this worker cannot serve streams now, None if it can."""
    hub = state.hub
    try:
        check_server(request.environ)
        state.reach.check()
        state.broker.head()
    except ConfigurationError as error:
        return str(error)
    except BrokerUnavailable:
        return "the broker cannot be reached"
    if hub.broken:
        return "a thread of this worker's hub has failed: restart the worker"
    return hub.full()
