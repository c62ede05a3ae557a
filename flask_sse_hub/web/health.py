"""Health: whether this worker can serve streams now, and why not."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from flask import request

from ..errors import BrokerUnavailable
from ..events.record import Cursor
from ..hub.deafness import DEAF_SECONDS
from ..hub.hub import Hub
from .app_state import AppState


class Check(NamedTuple):
    """One check of this worker's health."""

    name: str
    #: Why the worker cannot serve streams, None if the check has passed.
    reason: str | None
    #: How long the check took.
    seconds: float


def health_answer(state: AppState, *, verbose: bool) -> tuple[dict[str, Any], int]:
    """Return the answer of the health check and its status.

    ``verbose`` adds each check that was made. The first failed check is the last.
    """
    made = list(_checks(state))
    reason = made[-1].reason
    body: dict[str, Any] = {"status": "ready"}
    if reason is not None:
        body = {"status": "unavailable", "reason": reason}
    elif warnings := [
        *state.problems.that_spare_streams(request.environ),
        *state.after_commit.warnings(),
    ]:
        body["warnings"] = warnings
    if verbose:
        body["checks"] = [
            {"name": each.name, "passed": each.reason is None, "seconds": each.seconds}
            for each in made
        ]
    return body, 200 if reason is None else 503


def _checks(state: AppState) -> Iterator[Check]:
    """Make the checks of this worker one after the other, up to one that fails.

    The hub's tasks are started if nothing else speaks against this worker: it has to
    follow the log before a load balancer sends it its first stream.
    """
    head: list[Cursor] = []
    steps: Sequence[tuple[str, Callable[[], str | None]]] = (
        ("configuration", lambda: state.problems.that_stop_streams(request.environ)),
        ("broker", lambda: _broker_away(state.hub, head)),
        ("threads", lambda: _broken(state.hub)),
        ("room", lambda: state.hub.full()),
        ("following", lambda: _not_following(state.hub)),
        ("hearing", lambda: _deaf(state.hub, head[0])),
    )
    for name, find in steps:
        begun = time.perf_counter()
        reason = find()
        yield Check(name, reason, time.perf_counter() - begun)
        if reason is not None:
            return


def _broker_away(hub: Hub, head: list[Cursor]) -> str | None:
    try:
        head.append(hub.head())
    except BrokerUnavailable:
        return "the broker cannot be reached"
    return None


def _broken(hub: Hub) -> str | None:
    if hub.broken:
        return "a thread of this worker's hub has failed: restart the worker"
    return None


def _not_following(hub: Hub) -> str | None:
    try:
        hub.start()
    except BrokerUnavailable as error:
        return str(error)
    return None if hub.ready else "this worker does not follow the log yet"


def _deaf(hub: Hub, head: Cursor) -> str | None:
    seconds = hub.deaf_seconds(head)
    if seconds < DEAF_SECONDS:
        return None
    return (
        f"this worker has followed no event for {seconds:.0f} s although the log goes"
        " on: restart the worker"
    )
