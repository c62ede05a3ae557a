"""Reading JSON bodies: each refusal names the field that it is about."""

from typing import Any

from flask import json, request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType


class BadField(BadRequest):
    """Raised when a field of the body cannot be used."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


def json_object(*, fields: frozenset[str]) -> dict[str, Any]:
    """Return the body as a dict; refuse one that has any other field.

    The content type must be application/json. A form on another site cannot send that.
    A script there must ask for permission first, and this app never grants it. Together
    with SameSite=Lax, this keeps other sites out without a CSRF token.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Content-Type must be application/json")
    # Read outside the try, so that a body that is too large is refused with 413.
    raw = request.get_data()
    try:
        body = json.loads(raw)
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply") from error
    except ValueError as error:
        raise BadRequest("the body is not JSON") from error
    return checked_object(body, what="body", fields=fields)


def checked_object(body: Any, *, what: str, fields: frozenset[str]) -> dict[str, Any]:
    """Return a JSON object; refuse one that has any other field."""
    if not isinstance(body, dict):
        raise BadField(what, "must be a JSON object")
    for field in body:
        # A misspelt "target" would otherwise count as no target, which means everybody.
        if field not in fields:
            raise BadField(field, f"is not known; there is {', '.join(sorted(fields))}")
    return body


def identifier(body: dict[str, Any], field: str) -> str:
    """Return an optional id as text, "" if there is none. 7 and "7" are one id."""
    value = body.get(field)
    if value is None or value == "":
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadField(field, "must be a string or an integer")
    return text({field: value}, field)


def text(body: dict[str, Any], field: str, *, most: int = 255) -> str:
    """Return a required field as text."""
    if field not in body:
        raise BadField(field, "is missing")
    value = body[field]
    if not isinstance(value, str):
        raise BadField(field, "must be a string")
    if not value.strip():
        raise BadField(field, "is empty")
    if any("\ud800" <= char <= "\udfff" for char in value):
        # JSON can contain half of a surrogate pair, which cannot be sent or stored.
        raise BadField(field, "is not valid Unicode")
    if len(value) > most:
        raise BadField(field, f"is longer than {most} characters")
    return value
