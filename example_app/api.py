"""Streams and publishing under addresses of this app's own.

``/events`` comes with the hub. An app that has its own conventions, or views with rules
of their own, calls the hub's methods as it is done here.
"""

from typing import Any

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.exceptions import Forbidden

from . import errors, figures
from .bodies import BadField, checked_object, json_object, text
from .extensions import sse_hub
from .presence import LOBBY
from .users import current_user_is_admin, owns_client, require_login

blueprint = Blueprint("api", __name__)
blueprint.before_request(require_login)
errors.refuse_bad_events(blueprint)

# A field of the target, and the argument of publish() that it becomes.
_TARGETS = {"clientId": "client", "userId": "user", "sessionId": "session"}


@blueprint.get("/api/sse")
def stream() -> Response:
    """Stream what concerns the current user, and what concerns everybody."""
    return sse_hub.stream()


@blueprint.get("/api/dashboard/sse")
def dashboard_stream() -> Response:
    """Stream the dashboard's figures.

    The rule of this view is that a login is enough; it could be any other. Whoever gets
    as far as ``stream()`` may listen. What is addressed to the person comes by the
    stream that every page has, and would come twice: so this one is not ``personal``.
    """
    figures.ensure_running()
    return sse_hub.stream(
        figures.channel(), personal=False, metadata={"page": "dashboard"}
    )


@blueprint.get("/api/dashboard/state")
def dashboard_state() -> ResponseReturnValue:
    """Return what the dashboard shows, for a page that has missed some of it."""
    return jsonify(figures.state())


@blueprint.post("/api/sse/ticket")
def ticket() -> ResponseReturnValue:
    """Give a ticket for one's own stream to a page of another origin, or a mobile app.

    ``new EventSource("https://.../events?ticket=...")``, which sends no cookie there.
    """
    return jsonify(ticket=sse_hub.ticket(channels=[LOBBY], expires=60))


@blueprint.post("/trigger")
def trigger() -> ResponseReturnValue:
    """Notify oneself: the shortest way from a request to an event."""
    event_id = sse_hub.publish(
        {"text": "You asked for this notification."},
        type="notification",
        user=current_user.id,
    )
    return jsonify(id=event_id), 202


@blueprint.post("/api/sse/send")
def send() -> ResponseReturnValue:
    """Publish what the body says, to oneself; an admin may publish to anybody.

    ``{"type": "...", "data": ..., "target": {"userId": "..."}}``, where the target has
    one or more of clientId, userId and sessionId. Without a target it is everybody.
    """
    body = json_object(fields=frozenset({"type", "data", "target"}))
    if "data" not in body:
        raise BadField("data", "is missing")
    event_id = sse_hub.publish(
        body["data"],
        type=text(body, "type") if "type" in body else "message",
        **_target(body),
    )
    return jsonify(id=event_id), 202


def _target(body: dict[str, Any]) -> dict[str, Any]:
    if "target" not in body:
        if not current_user_is_admin():
            raise Forbidden("only an admin may publish to everybody: name a target")
        return {}
    target = checked_object(body["target"], what="target", fields=frozenset(_TARGETS))
    if not target:
        # Nobody is meant. It must not become nothing given, which is everybody.
        raise BadField("target", f"needs one of {', '.join(_TARGETS)}")
    names = {field: _name(target, field) for field in target}
    for field, name in names.items():
        if not _may_reach(field, name):
            raise Forbidden(f"target.{field} is not yours")
    return {_TARGETS[field]: name for field, name in names.items()}


def _name(target: dict[str, Any], field: str) -> str:
    value = target[field]
    if field == "userId" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise BadField(f"target.{field}", "must be a string that is not empty")
    return value


def _may_reach(field: str, name: str) -> bool:
    if current_user_is_admin():
        return True
    if field == "clientId":
        return owns_client(name)
    own: str = current_user.id if field == "userId" else sse_hub.session_id()
    return name == own
