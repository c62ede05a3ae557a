"""The buttons of the demo page: publishing one event to each kind of target."""

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.exceptions import Forbidden

from . import errors
from .bodies import BadField, json_object, text
from .extensions import sse_hub
from .lobby import LOBBY
from .users import USERS, owns_client, require_login

blueprint = Blueprint("demo", __name__, url_prefix="/api/demo")
blueprint.before_request(require_login)
errors.refuse_bad_events(blueprint)

_MAX_TEXT = 500
_BURST = 5


@blueprint.post("/publish")
def publish() -> ResponseReturnValue:
    """Publish a text to the target of the button."""
    body = json_object(fields=frozenset({"to", "text", "user", "clientId"}))
    data = {"from": current_user.id, "text": text(body, "text", most=_MAX_TEXT)}
    match body.get("to"):
        case "everyone":
            # Without a target, every connected client receives the event.
            event_id = sse_hub.publish(data)
        case "me":
            # The target user means all tabs and devices of a person.
            event_id = sse_hub.publish(data, type="notification", user=current_user.id)
        case "user":
            event_id = sse_hub.publish(
                data, type="notification", user=_known_user(body)
            )
        case "client":
            # A client is one stream, which all tabs of this browser share.
            event_id = sse_hub.publish(
                data, type="notification", client=_own_client(body)
            )
        case "lobby":
            # Every client that listens to the channel, except the sender's. A chat
            # shows the sender's own text at once and must not show it twice. The id is
            # not checked: a foreign id would only keep this event from that client, and
            # ids cannot be guessed.
            event_id = sse_hub.publish(
                data,
                type="lobby",
                channel=LOBBY,
                exclude_client=text(body, "clientId"),
            )
        case _:
            raise BadField("to", "must be everyone, me, user, client or lobby")
    return jsonify(id=event_id), 202


@blueprint.post("/burst")
def burst() -> ResponseReturnValue:
    """Publish numbered events to the current user, so that a gap would show."""
    ids = [
        sse_hub.publish(
            {"text": f"{number} of {_BURST}", "number": number}, user=current_user.id
        )
        for number in range(1, _BURST + 1)
    ]
    return jsonify(ids=ids), 202


@blueprint.post("/cut")
def cut() -> ResponseReturnValue:
    """End a stream of the current user from the server's side.

    The client reconnects by itself and names the last id that it has. The hub then
    replays the events that were published meanwhile.
    """
    body = json_object(fields=frozenset({"clientId"}))
    sse_hub.disconnect(client=_own_client(body))
    return jsonify(status="cut"), 202


def _own_client(body: dict[str, Any]) -> str:
    client_id = text(body, "clientId")
    if not owns_client(client_id):
        raise Forbidden("this client is somebody else's")
    return client_id


def _known_user(body: dict[str, Any]) -> str:
    name = text(body, "user")
    if name not in USERS:
        raise BadField("user", "is nobody here")
    return name
