"""Health: whether this worker can serve streams now, and why not."""

from flask import request

from ..errors import BrokerUnavailable
from ..hub.hub import Hub
from .app_state import AppState


def unready(state: AppState) -> str | None:
    """Return why this worker cannot serve streams now, None if it can.

    Starts the hub's tasks if nothing else speaks against this worker: it has to follow
    the log before a load balancer sends it its first stream.
    """
    problems = state.problems.that_stop_streams(request.environ)
    if problems is not None:
        return problems
    hub = state.hub
    try:
        state.broker.head()
    except BrokerUnavailable:
        return "the broker cannot be reached"
    if hub.broken:
        return "a thread of this worker's hub has failed: restart the worker"
    full = hub.full()
    return _not_following(hub) if full is None else full


def _not_following(hub: Hub) -> str | None:
    try:
        hub.start()
    except BrokerUnavailable as error:
        return str(error)
    return None if hub.ready else "this worker does not follow the log yet"
