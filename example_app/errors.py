"""Error answers: JSON for programs, pages for people."""

from typing import NoReturn

from flask import (
    Blueprint,
    Flask,
    abort,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, Unauthorized
from werkzeug.wrappers import Response

from flask_sse_hub import (
    BrokerUnavailable,
    InvalidEvent,
    InvalidName,
    InvalidTarget,
    SSEHubError,
)

from .bodies import BadField

# The paths that programs request. An EventSource does not show the text of a refusal,
# but the network tools of a browser do.
_FOR_PROGRAMS = ("/api/", "/webhooks/", "/trigger", "/health")


def init_app(app: Flask) -> None:
    """Register the answers to all HTTP errors."""
    app.register_error_handler(HTTPException, _answer)
    app.register_error_handler(BrokerUnavailable, _unavailable)


def refuse_bad_events(blueprint: Blueprint) -> None:
    """Answer the hub's refusals with 400 in views that publish what a client sent.

    Use it for such views only. Elsewhere a bad name is a mistake in this app, and 500
    is the right answer.
    """
    for error in (InvalidEvent, InvalidName, InvalidTarget):
        blueprint.register_error_handler(error, _refused)


def ask_for_login() -> NoReturn:
    """Refuse a request that needs a login; Flask-Login calls it."""
    if _is_for_program():
        raise Unauthorized("sign in first")
    target = request.full_path.rstrip("?") if request.method == "GET" else None
    abort(redirect(url_for("accounts.login", next=target)))


def _answer(error: HTTPException) -> ResponseReturnValue:
    if _is_for_program():
        body = {"error": error.description}
        if isinstance(error, BadField):
            body["field"] = error.field
        answer: str | Response = jsonify(body)
    else:
        answer = render_template("error.html", error=error)
    return answer, error.code or 500


def _refused(error: SSEHubError) -> ResponseReturnValue:
    return jsonify(error=str(error)), 400


def _unavailable(_: BrokerUnavailable) -> ResponseReturnValue:
    return jsonify(error="events cannot be published just now"), 503


def _is_for_program() -> bool:
    return request.blueprint == "sse_hub" or request.path.startswith(_FOR_PROGRAMS)
