"""Webhooks: another service calls, and the user concerned is notified at once."""

import hmac
import json
import os
import secrets

from flask import Blueprint, current_app, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from flask_sse_hub import ConfigurationError
from flask_sse_hub.webhooks import HMAC, Delivery, webhook

from . import errors
from .bodies import checked_object, text
from .extensions import sse_hub

blueprint = Blueprint("webhooks", __name__)
errors.refuse_bad_events(blueprint)

#: The services that call, with the environment variables of their shared secrets.
PROVIDERS = {
    "payments": "WEBHOOK_SECRET_PAYMENTS",
    "builds": "WEBHOOK_SECRET_BUILDS",
}


def _secret() -> str:
    """Return the secret of the service that this request names."""
    name = PROVIDERS[(request.view_args or {})["provider"]]
    secret = os.environ.get(name)
    if not secret and (current_app.debug or current_app.config["DEMO"]):
        return "demo"
    if not secret:
        raise ConfigurationError(f"{name} is not set")
    return secret


def sample_call(user: str) -> str | None:
    """Return a curl command that notifies a user; None where the secret is a real one.

    Its text has a number: the same text is sent to a user once a day.
    """
    if os.environ.get(PROVIDERS["payments"]) or not (
        current_app.debug or current_app.config["DEMO"]
    ):
        return None
    paid = f"Order {secrets.randbelow(10_000)} is paid"
    body = json.dumps({"user": user, "text": paid})
    signature = hmac.digest(b"demo", body.encode(), "sha256").hex()
    url = url_for("webhooks.receive", provider="payments", _external=True)
    return (
        f"curl {url} -H 'Content-Type: application/json'"
        f" -H 'X-Signature-256: sha256={signature}' -d '{body}'"
    )


@blueprint.post(f"/webhooks/<any({', '.join(PROVIDERS)}):provider>")
@webhook(HMAC(_secret, header="X-Signature-256", id_header="X-Delivery-Id"))
def receive(delivery: Delivery, provider: str) -> ResponseReturnValue:
    """Notify the user that the body names: ``{"user": "alice", "text": "..."}``."""
    body = checked_object(
        delivery.json(), what="body", fields=frozenset({"user", "text"})
    )
    event_id = sse_hub.publish(
        {"from": provider, "text": text(body, "text", most=500)},
        type="notification",
        user=text(body, "user"),
        # A service that received no answer sends its call again, and the user should
        # still be notified only once. The delivery's own id would not do: it is not
        # signed, so a captured call could be sent again under another id. The same text
        # is sent to a user once a day; a service that means it twice adds a number.
        idempotency_key=delivery.idempotency_key,
    )
    # Accepted means that the event is in the history, whether or not the user is
    # connected.
    return jsonify(id=event_id), 202
