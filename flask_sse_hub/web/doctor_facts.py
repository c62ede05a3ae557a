"""``GET {prefix}/doctor``: a worker's facts, for ``flask sse doctor`` of the same app.

A request proves by its signature that its sender has the app's SECRET_KEY. All others
are refused, as those of a shell with another key are.
"""

import os
from contextlib import suppress
from typing import Any

from flask import current_app, request
from itsdangerous import BadData, URLSafeSerializer
from werkzeug.exceptions import Unauthorized

from ..auth.secret_keys import secret_keys
from ..auth.tickets import Ticket
from ..errors import BrokerUnavailable
from ..hub.clients.client import Identity
from ..metrics.figures import total
from ..server.places import open_files
from ..server.surroundings import surroundings
from .app_state import AppState

_SALT = "flask-sse-hub.doctor"

# Longer than an examination by far, so that a worker whose clock is a day off still
# tells the time.
_PASS_SECONDS = 3 * 86_400.0

# The headers that only a proxy sets.
_OF_PROXIES = ("Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip")


def doctor_query(state: AppState, channel: str) -> dict[str, str]:
    """Return the query that opens a stream of a channel, and that facts are asked with.

    Raises ConfigurationError if the app has no secret key.
    """
    expires = state.time_of_day() + _PASS_SECONDS
    ticket = Ticket(Identity(), (channel,), expires).sign()
    return {
        "channel": channel,
        "ticket": ticket,
        "pass": str(_passes().dumps([channel, round(expires)])),
    }


def _passes() -> URLSafeSerializer:
    return URLSafeSerializer(secret_keys("the doctor"), salt=_SALT)


def _channel_of_pass(state: AppState) -> str:
    """Return the channel that the request's pass names. Raises Unauthorized."""
    refusal = Unauthorized(
        "this endpoint answers `flask sse doctor` with the SECRET_KEY of this worker"
    )
    if not current_app.secret_key:
        raise refusal
    try:
        channel, expires = _passes().loads(request.args.get("pass", ""))
    except (BadData, ValueError, TypeError):
        raise refusal from None
    if state.time_of_day() >= expires:
        raise refusal
    return str(channel)


def doctor_facts(state: AppState) -> dict[str, Any]:
    """Return the facts about this worker, as it sees this request."""
    channel = _channel_of_pass(state)
    around = surroundings(request.environ)
    hub, config = state.hub, state.config
    worker, places = around.worker, around.places
    takes_over = bool(config.socket_takeover) and "gunicorn.socket" in request.environ
    files = open_files()
    epoch = ""
    with suppress(BrokerUnavailable):
        hub.start()
        epoch = hub.head().epoch
    return {
        "pid": os.getpid(),
        "time": state.time_of_day(),
        "epoch": epoch,
        "problems": [each.text for each in state.problems.found(request.environ)],
        "machine": _machine(state, channel) if "machine" in request.args else None,
        "server": around.server,
        "places": None if places is None else places.at_once,
        "places_setting": None if places is None else places.setting,
        "takeover": takes_over and around.is_gevent_worker,
        "max_requests": 0 if worker is None else _bounded(worker.max_requests),
        "max_files": files,
        "max_clients": config.max_clients,
        "full": hub.full(),
        "protocol": request.environ.get("SERVER_PROTOCOL", ""),
        "address": request.remote_addr,
        "forwarded_for": request.headers.get("X-Forwarded-For"),
        "proxied": any(name in request.headers for name in _OF_PROXIES),
        "proxy_fix": "werkzeug.proxy_fix.orig" in request.environ,
        "scheme": request.scheme,
    }


def _bounded(requests: int) -> int:
    # gunicorn has sys.maxsize for no limit.
    return requests if requests < 2**31 else 0


def _machine(state: AppState, channel: str) -> dict[str, Any]:
    """Return the facts about all workers of this machine that follow the log."""
    found = state.machine.figures()
    return {
        "streams": total(found.workers).channels.get(channel, 0),
        "deaf": {each.process.pid: each.broker.deaf_seconds for each in found.workers},
        "silent": found.silent,
    }
