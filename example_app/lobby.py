"""The lobby: users with an open page, and users in the middle of typing.

The hub knows who is there, on all workers. This module only says how a person is shown.
"""

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue
from flask_login import current_user

from . import errors
from .bodies import json_object, text
from .extensions import sse_hub
from .users import User, require_login

#: The channel that the pages of all signed-in users listen to. Every page requests the
#: same channels, so all tabs of a browser can share one stream.
LOBBY = "lobby"

blueprint = Blueprint("lobby", __name__, url_prefix="/api/lobby")
blueprint.before_request(require_login)
errors.refuse_bad_events(blueprint)


def init_app(app: Flask) -> None:
    """Let templates name the channel."""
    app.jinja_env.globals["lobby"] = LOBBY


@sse_hub.describe_presence
def describe(user: User, channel: str) -> dict[str, str]:  # noqa: ARG001
    """Return how a person is shown to the others: an avatar needs no image."""
    return {"initials": user.initials}


@blueprint.post("/typing")
def typing() -> ResponseReturnValue:
    """Tell the lobby that the current user is typing.

    The event is of use for a moment only. With a ttl of 0 it reaches the pages that are
    connected now. A page that was away neither receives nor misses it.
    """
    body = json_object(fields=frozenset({"clientId"}))
    sse_hub.publish(
        {"user": current_user.id},
        type="typing",
        channel=LOBBY,
        ttl=0,
        exclude_client=text(body, "clientId"),
    )
    return "", 204
