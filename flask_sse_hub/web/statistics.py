"""The statistics and metrics of all workers of the machine, with their access.

Knows requests and the setting SSE_HUB_STATS_ACCESS. Does not know how workers ask each
other.
"""

import hmac
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from flask import Response, abort, jsonify, request
from werkzeug.exceptions import BadRequest, Forbidden, NotFound

from ..auth.visitor import bearer_token
from ..errors import BrokerUnavailable, ConfigurationError
from ..metrics.exposition import exposition
from ..metrics.figures import Figures, total
from ..metrics.machine import MachineFigures
from .app_state import AppState


def statistics(state: AppState) -> Response:
    """Return the sums of all workers, or the figures of one, as JSON."""
    found = _figures(state, clients="clients" in request.args)
    if not found.workers:
        raise NotFound("this worker gave no answer in time: it is stopped, or too busy")
    shown = asdict(total(found.workers))
    shown["clients"] = [
        {**asdict(client), "worker": each.worker}
        for each in found.workers
        for client in each.hub.clients
    ]
    shown["workers"] = list(map(_described, found.workers))
    shown["silent"] = list(found.silent)
    return jsonify(shown)


def metrics(state: AppState) -> Response:
    """Return the metrics of all workers, or of one, for Prometheus."""
    found = _figures(state, clients=False)
    try:
        body, content_type = exposition(found, accept=request.headers.get("Accept", ""))
    except ConfigurationError as error:
        abort(501, str(error))
    return Response(body, content_type=content_type)


def _described(figures: Figures) -> dict[str, Any]:
    return {
        "worker": figures.worker,
        "pid": figures.process.pid,
        "connections": figures.hub.connections,
        "position": figures.hub.position,
        "deaf_seconds": figures.broker.deaf_seconds,
        "draining": figures.hub.draining,
    }


def _figures(state: AppState, *, clients: bool) -> MachineFigures:
    if not _admitted(state.config.stats_access):
        raise Forbidden(
            "this request may not read the statistics: SSE_HUB_STATS_ACCESS sets the"
            " token or the rule"
        )
    worker = _asked_worker()
    # Other workers find this one only once its hub runs. Without room for its threads,
    # this worker still answers.
    with suppress(BrokerUnavailable):
        state.hub.start()
    found = state.machine.figures(clients=clients, worker=worker)
    if not found.workers and not found.silent:
        raise NotFound(
            f"there is no worker {worker}: the workers of this machine have numbers"
            " from 0 on, which /stats lists"
        )
    return found


def _asked_worker() -> int | None:
    asked = request.args.get("worker")
    if asked is None:
        return None
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 6):
        raise BadRequest(f"worker={asked!r:.40} is not the number of a worker")
    return int(asked)


def _admitted(access: Any) -> bool:
    if access is None:
        return False
    if callable(access):
        return bool(access())
    return hmac.compare_digest((bearer_token() or "").encode(), access.encode())
