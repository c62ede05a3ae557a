"""Streams and publishing under this app's own URLs.

``/events`` comes with the hub. An app with its own conventions or access rules calls
the hub's methods from its views, as this module does.
"""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.exceptions import BadRequest, Forbidden

from . import errors, figures
from .bodies import BadField, checked_object, json_object, text
from .extensions import sse_hub
from .lobby import LOBBY
from .users import current_user_is_admin, owns_client, require_login

blueprint = Blueprint("api", __name__)
blueprint.before_request(require_login)
errors.refuse_bad_events(blueprint)

# Each field of the target, with the argument of publish() that it becomes.
_TARGETS = {"clientId": "client", "userId": "user", "sessionId": "session"}


@blueprint.get("/api/sse")
def stream() -> Response:
    """Stream the events for the current user and the events for everybody.

    Some programs name themselves, as in ``/api/sse?clientId=...&userId=...``. Only own
    names are accepted: the login decides who listens, and not the query.
    """
    given = {
        field: request.args[field] for field in _TARGETS if request.args.get(field)
    }
    for field, own in _own_ids().items():
        if given.get(field, own) != own:
            raise Forbidden(
                f"{field} is not yours: leave it out, or take it from /api/sse/ids"
            )
    client_id = given.get("clientId")
    try:
        return sse_hub.stream(client_id=client_id)
    except BadRequest as error:
        if client_id is None:
            raise
        raise BadField(
            "clientId",
            "is not an id of this app: leave it out, and read client_id in the event"
            " connected",
        ) from error


@blueprint.get("/api/sse/ids")
def ids() -> ResponseReturnValue:
    """Return the ids by which events can be sent to the user and the session.

    The id of a client is in the event ``connected`` of its stream.
    """
    return jsonify(_own_ids())


@blueprint.get("/api/dashboard/sse")
def dashboard_stream() -> Response:
    """Stream the dashboard's figures.

    This view requires a login; it could apply any other rule. A request that reaches
    ``stream()`` may listen. Every page already has a stream with the events addressed
    to the user. This one is not ``personal``, or those events would arrive twice.

    It begins with the state: the figures of the last minutes.
    """
    figures.ensure_running()
    return sse_hub.stream(
        figures.channel(), personal=False, state=True, metadata={"page": "dashboard"}
    )


@blueprint.post("/api/sse/ticket")
def ticket() -> ResponseReturnValue:
    """Return a ticket for the user's own stream.

    For a page of another origin or a mobile app, which send no cookie:
    ``new EventSource("https://.../events?ticket=...")``.
    """
    return jsonify(ticket=sse_hub.ticket(channels=[LOBBY], expires=60))


@blueprint.post("/trigger")
def trigger() -> ResponseReturnValue:
    """Notify the current user: the shortest way from a request to an event.

    With a body ``{"type": "...", "data": ...}`` it publishes that event to the current
    user, and an event from an admin to everybody.
    """
    if not request.get_data():
        event_id = sse_hub.publish(
            {"text": "You asked for this notification."},
            type="notification",
            user=current_user.id,
        )
        return jsonify(id=event_id), 202
    body = json_object(fields=frozenset({"type", "data"}))
    target = {} if current_user_is_admin() else {"user": current_user.id}
    return jsonify(id=_publish(body, target)), 202


@blueprint.post("/api/sse/send")
def send() -> ResponseReturnValue:
    """Publish the event in the body. Only an admin may publish to other users.

    The body is ``{"type": "...", "data": ..., "target": {"userId": "..."}}``. The
    target has one or more of clientId, userId and sessionId. Without a target, the
    event is for everybody.
    """
    body = json_object(fields=frozenset({"type", "data", "target"}))
    return jsonify(id=_publish(body, _target(body))), 202


def _publish(body: dict[str, Any], target: dict[str, Any]) -> str:
    if "data" not in body:
        raise BadField("data", "is missing")
    type = text(body, "type") if "type" in body else "message"
    event_id: str = sse_hub.publish(body["data"], type=type, **target)
    return event_id


def _target(body: dict[str, Any]) -> dict[str, Any]:
    if "target" not in body:
        if not current_user_is_admin():
            raise Forbidden("only an admin may publish to everybody: name a target")
        return {}
    target = checked_object(body["target"], what="target", fields=frozenset(_TARGETS))
    if not target:
        # An empty target names nobody. Passed on, it would count as no target at all,
        # and the event would go to everybody.
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
    return name == _own_ids()[field]


def _own_ids() -> dict[str, str]:
    return {"userId": current_user.id, "sessionId": sse_hub.session_id()}
