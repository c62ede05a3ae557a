"""The buttons of the demo page: one event, and the ways to say whom it is for."""

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.exceptions import Forbidden

from . import errors
from .bodies import BadField, json_object, text
from .extensions import sse_hub
from .presence import LOBBY, people
from .users import USERS, owns_client, require_login

blueprint = Blueprint("demo", __name__, url_prefix="/api/demo")
blueprint.before_request(require_login)
errors.refuse_bad_events(blueprint)

_MAX_TEXT = 500
_BURST = 5


@blueprint.post("/publish")
def publish() -> ResponseReturnValue:
    """Publish a text to whom the button says."""
    body = json_object(fields=frozenset({"to", "text", "user", "clientId"}))
    data = {"from": current_user.id, "text": text(body, "text", most=_MAX_TEXT)}
    match body.get("to"):
        case "everyone":
            # No target at all: everybody who is connected.
            event_id = sse_hub.publish(data)
        case "me":
            # A user is all of a person's tabs and devices.
            event_id = sse_hub.publish(data, type="notification", user=current_user.id)
        case "user":
            event_id = sse_hub.publish(
                data, type="notification", user=_known_user(body)
            )
        case "client":
            # A client is one stream: of this browser, all tabs of which share it.
            event_id = sse_hub.publish(
                data, type="notification", client=_own_client(body)
            )
        case "lobby":
            # Those who listen to the channel, but for who this comes from: a chat shows
            # what one writes at once, and must not show it again. The id is not
            # checked: who knows one can keep this event from that client, no more, and
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
    """Publish numbered events to the current user, to count them by."""
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

    Its client comes back by itself, and names the last id that it has: whatever is
    published until then is waiting for it.
    """
    body = json_object(fields=frozenset({"clientId"}))
    sse_hub.disconnect(client=_own_client(body))
    return jsonify(status="cut"), 202


@blueprint.get("/state")
def state() -> ResponseReturnValue:
    """Return what the page shows, for a page that cannot resume and begins anew."""
    return jsonify(people=people())


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
