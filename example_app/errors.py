"""Answers to what cannot be done: JSON for programs, pages for people."""

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

# What programs ask for. An EventSource does not show what it is refused with, but
# whoever looks at the network in their browser sees it.
_FOR_PROGRAMS = ("/api/", "/webhooks/", "/trigger", "/health")


def init_app(app: Flask) -> None:
    """Answer all errors of HTTP."""
    app.register_error_handler(HTTPException, _answer)
    app.register_error_handler(BrokerUnavailable, _unavailable)


def refuse_bad_events(blueprint: Blueprint) -> None:
    """Have the hub's refusals answered with 400 in views that publish what was sent.

    Only there: elsewhere a bad name is a mistake in this app, and 500 is right.
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
