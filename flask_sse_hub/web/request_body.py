"""The raw body of a request, with a bound, and what it says in JSON.

For endpoints that programs of others call. Whatever is wrong with a body is an error of
HTTP; no body is a failure of ours.
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from ..server.connection import connection_of

_PATIENCE_SECONDS = 30.0


def read_body(max_bytes: int) -> bytes:
    """Return the body as it came, of at most so many bytes.

    The app's MAX_CONTENT_LENGTH holds too. Raises RequestEntityTooLarge, and BadRequest
    where it breaks off, or does not go on.
    """
    if request.max_content_length is not None:
        max_bytes = min(max_bytes, request.max_content_length)
    length = request.content_length
    if (length or 0) > max_bytes:
        raise _too_large(max_bytes)
    # One more than allowed: at its limit the stream just ends. In the request's place,
    # so that a view too can ask the request for its data.
    request.stream = get_input_stream(request.environ, max_content_length=max_bytes + 1)
    try:
        with _patience():
            body = request.get_data()
    except RequestEntityTooLarge:
        raise
    except Exception as error:
        # Each server has errors of its own for a body that is cut or badly framed.
        raise BadRequest("the body cannot be read to its end") from error
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if length is not None and len(body) < length:
        # gunicorn ends such a body as if it were whole.
        raise BadRequest("the body broke off")
    return body


@contextmanager
def _patience() -> Iterator[None]:
    """Wait for the next part of a body for a while, and not for ever.

    gunicorn would: each body that stops half way would keep one of its connections.
    """
    connection = connection_of(request.environ)
    if connection is None:
        yield
        return
    before = connection.gettimeout()
    connection.settimeout(_PATIENCE_SECONDS)
    try:
        yield
    finally:
        connection.settimeout(before)


def parse_json(
    body: bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return what a body says in JSON; ``pairs`` makes its objects. Raises BadRequest.

    Python's NaN and infinities are not JSON: no browser could read them.
    """
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=pairs,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply") from error
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.20} is no number, or too large for one")
    return value


def _too_large(max_bytes: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"the body has more than {max_bytes} bytes")
