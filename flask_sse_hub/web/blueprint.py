"""The blueprint: the stream, the client, publishing, health, statistics, the console.

A thin layer: anything that a view of the app may need too is a method of the extension.
"""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from ..streams.response import keep_out_of_caches
from . import client_script, statistics
from .app_state import AppState
from .console import add_console
from .doctor_facts import doctor_facts
from .error_answers import answer_errors, unmatched
from .exemptions import PUBLISH, SUBSCRIPTIONS, exempt_from_checks
from .health import health_answer
from .hosts import HostBlueprint, rule_options
from .publish_api import PublishAPI
from .subscriptions import SubscriptionsAPI


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

    subscriptions = SubscriptionsAPI(state)

    @blueprint.post("/subscriptions", endpoint=SUBSCRIPTIONS)
    def change_channels() -> ResponseReturnValue:
        return subscriptions.handle()

    @blueprint.get(f"/{client_script.CLIENT_FILE}")
    def client() -> ResponseReturnValue:
        return client_script.client_file(client_script.CLIENT_FILE)

    @blueprint.get(f"/{client_script.SOURCE_MAP}")
    def client_map() -> ResponseReturnValue:
        return client_script.client_file(client_script.SOURCE_MAP)

    for name in client_script.OTHER_FILES:
        blueprint.add_url_rule(
            f"/{name}",
            "client_module",
            client_script.client_file,
            defaults={"name": name},
        )

    if config.publish_tokens:
        api = PublishAPI(state)

        @blueprint.post("/publish", endpoint=PUBLISH)
        def publish() -> ResponseReturnValue:
            return api.handle()

    @blueprint.get("/health")
    def health() -> ResponseReturnValue:
        body, status = health_answer(state, verbose="verbose" in request.args)
        return jsonify(body), status

    @blueprint.get("/health/live")
    def live() -> ResponseReturnValue:
        return jsonify(status="live")

    @blueprint.get("/stats")
    def stats() -> ResponseReturnValue:
        return statistics.statistics(state)

    @blueprint.get("/doctor")
    def doctor() -> ResponseReturnValue:
        return jsonify(doctor_facts(state))

    @blueprint.get("/metrics")
    def metrics() -> ResponseReturnValue:
        return statistics.metrics(state)

    add_console(blueprint, state)
    return blueprint
