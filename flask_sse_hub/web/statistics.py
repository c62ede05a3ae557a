"""The statistics and metrics of all workers of the machine, with their access.

Knows requests and the setting SSE_HUB_STATS_ACCESS. Does not know how workers ask each
other.
"""

import hmac
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from flask import Response, abort, has_request_context, jsonify, request
from werkzeug.exceptions import BadRequest, Forbidden, NotFound

from ..auth.visitor import bearer_token
from ..errors import BrokerUnavailable, ConfigurationError
from ..metrics.exposition import exposition
from ..metrics.machine import Machine, MachineFigures
from ..metrics.machine_stats import MachineStats
from .app_state import AppState


def statistics(state: AppState) -> Response:
    """Return the sums of all workers, or the figures of one, as JSON."""
    found = _figures(state, clients="clients" in request.args)
    if not found.workers:
        raise NotFound("this worker gave no answer in time: it is stopped, or too busy")
    shown = described(found)
    shown["clients"] = [
        {**asdict(client), "worker": each.worker}
        for each in found.workers
        for client in each.hub.clients
    ]
    return jsonify(shown)


def metrics(state: AppState) -> Response:
    """Return the metrics of all workers, or of one, for Prometheus."""
    found = _figures(state, clients=False)
    try:
        body, content_type = exposition(found, accept=request.headers.get("Accept", ""))
    except ConfigurationError as error:
        abort(501, str(error))
    return Response(body, content_type=content_type)


def machine_stats(state: AppState) -> MachineStats:
    """Return the statistics of all workers, for code of the app.

    The hub of a request's process runs afterwards, as a worker's does. Another process
    that serves no streams, such as a script, only asks the workers.
    """
    if has_request_context():
        join_workers(state)
    hub = state.hub
    machine = state.machine if hub.ready else Machine(state.log_identity)
    found = machine.figures()
    if not found.workers:
        return MachineStats(hub.stats(), (), found.silent)
    return found.stats()


def admit(state: AppState) -> None:
    """Raise Forbidden if SSE_HUB_STATS_ACCESS does not admit this request."""
    if not _admitted(state.config.stats_access):
        raise Forbidden(
            "this request may not read the statistics: SSE_HUB_STATS_ACCESS sets the"
            " token or the rule"
        )


def join_workers(state: AppState) -> None:
    """Let other workers find this one, which they do once its hub runs."""
    # Without room for its threads, this worker still answers.
    with suppress(BrokerUnavailable):
        state.hub.start()


def described(found: MachineFigures) -> dict[str, Any]:
    """Return the sums of at least one worker, and a summary of each worker."""
    stats = found.stats()
    shown = asdict(stats.total)
    shown["workers"] = list(map(asdict, stats.workers))
    shown["silent"] = list(stats.silent)
    return shown


def _figures(state: AppState, *, clients: bool) -> MachineFigures:
    admit(state)
    worker = _asked_worker()
    join_workers(state)
    found = state.machine.figures(clients=clients, worker=worker)
    if not found.workers and not found.silent:
        raise NotFound(
            f"there is no worker {worker}: the workers of this machine have numbers"
            " from 0 on, which /stats lists"
        )
    return found


def _asked_worker() -> int | None:
    asked = request.args.get("worker")
    return None if asked is None else number_in_query("worker", asked)


def number_in_query(name: str, text: str) -> int:
    """Return a number from 0 on that the query has. Raises BadRequest."""
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise BadRequest(f"{name}={text!r:.40} is not a number from 0 on")
    return int(text)


def _admitted(access: Any) -> bool:
    if access is None:
        return False
    if callable(access):
        return bool(access())
    return hmac.compare_digest((bearer_token() or "").encode(), access.encode())
