"""Error answers: the blueprint's errors as JSON for programs, otherwise as plain text.

An app's own error pages are made for people, and often redirect to a login page. A
native EventSource and most programs can use neither. So the blueprint's endpoints keep
their own answers, whatever error handlers the app has registered.
"""

from typing import NoReturn

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    default_exceptions,
)

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


def unmatched(blueprint: Blueprint) -> Response | None:
    """Return the answer to a request that meets no endpoint, although it means one.

    A method that an endpoint does not have is a 405, and a path below the prefix of the
    blueprint a 404. Flask finds no endpoint for such a request, and therefore calls
    neither the error handlers nor the hooks of the blueprint. None for all else.
    """
    error = request.routing_exception
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        # Matched with a method that the path has, to learn whose path it is.
        method = next(iter(error.valid_methods))
        ours = _serves(blueprint, request.path, method=method)
        return _answer(error) if ours else None
    if isinstance(error, NotFound) and _is_below(blueprint):
        return _answer(NotFound(_no_endpoint(blueprint)))
    return None


def _serves(blueprint: Blueprint, path: str, *, method: str = "GET") -> bool:
    """Tell whether an endpoint of the blueprint has a path, on this request's host."""
    adapter = current_app.create_url_adapter(request)
    if adapter is None:
        return False
    try:
        endpoint, _ = adapter.match(path, method=method)
    except HTTPException:
        return False
    return _is_of(blueprint, endpoint)


def _is_of(blueprint: Blueprint, endpoint: str) -> bool:
    return endpoint.startswith(f"{blueprint.name}.")


def _is_below(blueprint: Blueprint) -> bool:
    """Tell whether the path is below the prefix, and the prefix is the hub's alone.

    An app with views of its own there has error pages of its own there too. On a host
    that the blueprint does not serve, the prefix is the app's.
    """
    below = f"{blueprint.url_prefix}/"
    if not request.path.startswith(below):
        return False
    return _serves(blueprint, str(blueprint.url_prefix)) and all(
        _is_of(blueprint, rule.endpoint)
        for rule in current_app.url_map.iter_rules()
        if rule.rule.startswith(below)
    )


def _no_endpoint(blueprint: Blueprint) -> str:
    text = f"the hub has no endpoint {request.path!r:.100}"
    if not current_app.debug:
        return text
    if request.path == f"{blueprint.url_prefix}/":
        return f"{text}: leave out the slash at the end"
    if request.path == f"{blueprint.url_prefix}/publish":
        return f"{text}: publishing over HTTP needs SSE_HUB_PUBLISH_TOKENS"
    paths = sorted(
        rule.rule
        for rule in current_app.url_map.iter_rules()
        if _is_of(blueprint, rule.endpoint)
    )
    return f"{text}: it has {', '.join(paths)}"


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
