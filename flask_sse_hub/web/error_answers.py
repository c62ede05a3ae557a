"""Error answers: the blueprint's errors as JSON for programs, otherwise as plain text.

An app's own error pages are made for people, and often redirect to a login page. A
native EventSource and most programs can use neither. So the blueprint's endpoints keep
their own answers, whatever error handlers the app has registered.
"""

from typing import NoReturn

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, default_exceptions

from ..streams.response import error_response


def answer_errors(blueprint: Blueprint) -> None:
    """Let all endpoints of a blueprint answer errors by themselves."""
    # One registration for each status: Flask prefers an app's handler for a status to a
    # blueprint's handler for all statuses.
    for status in default_exceptions:
        blueprint.register_error_handler(status, _answer)
    blueprint.register_error_handler(HTTPException, _answer)
    blueprint.register_error_handler(Exception, _log_and_answer)
    blueprint.after_request(_without_page)


def wrong_method(blueprint: Blueprint) -> Response | None:
    """Return the answer to a method that an endpoint does not have, otherwise None.

    Flask finds no endpoint for such a request, and therefore calls neither the error
    handlers nor the hooks of the blueprint.
    """
    error = request.routing_exception
    if not isinstance(error, MethodNotAllowed) or not error.valid_methods:
        return None
    adapter = current_app.create_url_adapter(request)
    if adapter is None:
        return None
    # Matched with a method that the path has, to learn whose path it is.
    endpoint, _ = adapter.match(method=next(iter(error.valid_methods)))
    if not endpoint.startswith(f"{blueprint.name}."):
        return None
    return _answer(error)


def _answer(error: HTTPException) -> Response:
    if error.response is not None:
        return _without_page(current_app.make_response(error.get_response()))
    text = str(error.description or error.name)
    response = error_response(text, status=error.code or 500)
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = value
    return response


def _log_and_answer(error: Exception) -> NoReturn:
    # Raised again, Flask logs the error, shows it in debug mode, and asks for the
    # answer to a 500. Without this handler, an app's handler for all exceptions would
    # answer with its own page.
    raise error


def _without_page(response: Response) -> Response:
    """Return an error without the page that a hook or a login handler has made."""
    if response.status_code < 400 or response.mimetype != "text/html":
        return response
    text = "" if response.direct_passthrough else response.get_data(as_text=True)
    if not text or "<" in text:
        # A page. A text without markup has this type because it is Flask's default.
        kind = default_exceptions.get(response.status_code, HTTPException)
        text = kind.description or response.status
    answer = error_response(text, status=response.status_code)
    response.set_data(answer.get_data())
    for name in ("Content-Type", "X-Content-Type-Options"):
        if name in answer.headers:
            response.headers[name] = answer.headers[name]
    return response
