"""The blueprint: the stream, the client, publishing, health and statistics.

A thin layer: anything that a view of the app may need too is a method of the extension.
"""

import hmac
from dataclasses import asdict
from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Forbidden

from ..auth.visitor import bearer_token
from ..streams.response import keep_out_of_caches
from . import client_script
from .app_state import AppState
from .error_answers import answer_errors, unmatched
from .exemptions import PUBLISH, exempt_from_checks
from .health import unready
from .hosts import HostBlueprint, rule_options
from .publish_api import PublishAPI


def create_blueprint(state: AppState) -> Blueprint:
    """Return the blueprint of one app."""
    config = state.config
    blueprint = HostBlueprint(
        "sse_hub",
        __name__,
        options=rule_options(state.app, host=config.host, subdomain=config.subdomain),
        url_prefix=config.url_prefix,
    )
    exempt_from_checks(blueprint)
    blueprint.after_request(state.origins.add_headers)
    blueprint.after_request(keep_out_of_caches)
    answer_errors(blueprint)

    @blueprint.before_app_request
    def refuse_unmatched() -> ResponseReturnValue | None:
        refusal = unmatched(blueprint)
        if refusal is None:
            return None
        return state.origins.add_headers(keep_out_of_caches(refusal))

    @blueprint.get("")
    def stream() -> ResponseReturnValue:
        return state.subscribing.subscribe(request.args.getlist("channel"))

    @blueprint.get(f"/{client_script.CLIENT_FILE}")
    def client() -> ResponseReturnValue:
        return client_script.client_file()

    if config.publish_tokens:
        api = PublishAPI(state)

        @blueprint.post("/publish", endpoint=PUBLISH)
        def publish() -> ResponseReturnValue:
            return api.handle()

    @blueprint.get("/health")
    def health() -> ResponseReturnValue:
        reason = unready(state)
        if reason is not None:
            return jsonify(status="unavailable", reason=reason), 503
        warnings = state.problems.that_spare_streams(request.environ)
        if warnings:
            return jsonify(status="ready", warnings=warnings)
        return jsonify(status="ready")

    @blueprint.get("/health/live")
    def live() -> ResponseReturnValue:
        return jsonify(status="live")

    @blueprint.get("/stats")
    def stats() -> ResponseReturnValue:
        if not _admitted(config.stats_access):
            raise Forbidden(
                "this request may not read the statistics: SSE_HUB_STATS_ACCESS sets"
                " the token or the rule"
            )
        shown = state.hub.stats(clients="clients" in request.args)
        return jsonify(asdict(shown))

    return blueprint


def _admitted(access: Any) -> bool:
    if access is None:
        return False
    if callable(access):
        return bool(access())
    return hmac.compare_digest((bearer_token() or "").encode(), access.encode())
