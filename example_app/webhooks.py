"""Webhooks: another service calls, and the person concerned sees it at once."""

import hashlib
import hmac
import logging
import os

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound, Unauthorized

from . import errors
from .bodies import json_object, text
from .extensions import sse_hub

log = logging.getLogger(__name__)

blueprint = Blueprint("webhooks", __name__)
errors.refuse_bad_events(blueprint)

#: The services that call, and the environment's names for the secrets shared with them.
PROVIDERS = {
    "payments": "WEBHOOK_SECRET_PAYMENTS",
    "builds": "WEBHOOK_SECRET_BUILDS",
}

_DEMO_SECRET = b"demo"


@blueprint.post("/webhooks/<provider>")
def receive(provider: str) -> ResponseReturnValue:
    """Take ``{"user": "alice", "text": "..."}`` and notify that user."""
    _check_signature(_secret_of(provider))
    body = json_object(fields=frozenset({"user", "text"}))
    delivery_id = request.headers.get("X-Delivery-Id")
    event_id = sse_hub.publish(
        {"from": provider, "text": text(body, "text", most=500)},
        type="notification",
        user=text(body, "user"),
        # A service that got no answer sends its call again, and the user shall still
        # be notified once. Two services may count alike, hence the provider's name.
        idempotency_key=f"{provider}:{delivery_id}" if delivery_id else None,
    )
    # Accepted: it is in the log. Whether the user is connected is another matter.
    return jsonify(id=event_id), 202


def _secret_of(provider: str) -> bytes:
    name = PROVIDERS.get(provider)
    if name is None:
        raise NotFound("there is no such provider")
    secret = os.environ.get(name)
    if secret:
        return secret.encode()
    if current_app.debug or current_app.config["DEMO"]:
        return _DEMO_SECRET
    log.warning("a webhook of %s was refused: %s is not set", provider, name)
    raise Unauthorized("the signature cannot be checked")


def _check_signature(secret: bytes) -> None:
    # Of the bytes as they came: JSON that is read and written again may differ.
    expected = hmac.new(secret, request.get_data(), hashlib.sha256).hexdigest()
    given = request.headers.get("X-Signature-256", "")
    # compare_digest takes as long for a wrong first digit as for a wrong last one.
    if not hmac.compare_digest(f"sha256={expected}".encode(), given.encode()):
        raise Unauthorized("X-Signature-256 is missing, or does not fit the body")
