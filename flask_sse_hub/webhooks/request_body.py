"""The raw body of a request, read with a bound, and its content as JSON.

For endpoints that other people's programs call. A faulty body always raises an HTTP
error for the sender; no body may cause a 500. Does not know what a body is for.
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

# How long to wait for the next part of a body.
_PATIENCE_SECONDS = 30.0


def read_body(max_bytes: int) -> bytes:
    """Return the request's raw body, of at most ``max_bytes``.

    The app's MAX_CONTENT_LENGTH applies too. Raises RequestEntityTooLarge, and
    BadRequest if the body breaks off or its next part does not arrive in time.
    """
    if request.max_content_length is not None:
        max_bytes = min(max_bytes, request.max_content_length)
    length = request.content_length
    if (length or 0) > max_bytes:
        raise _too_large(max_bytes)
    # One byte more than allowed: the stream ends silently at its limit, and a body that
    # is too long would pass for one that fits. Replacing the request's own stream lets
    # a view call request.get_data() later.
    request.stream = get_input_stream(request.environ, max_content_length=max_bytes + 1)
    try:
        with _patience():
            body = request.get_data()
    except RequestEntityTooLarge:
        raise
    except Exception as error:
        # Each server raises its own errors for a body that is cut or badly framed.
        raise BadRequest("the body cannot be read to its end: send it again") from error
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if length is not None and len(body) < length:
        # gunicorn ends a body that is cut as if it were complete.
        raise BadRequest(
            f"the body broke off after {len(body)} of {length} bytes: send it again"
        )
    return body


@contextmanager
def _patience() -> Iterator[None]:
    """Bound the wait for the next part of a body.

    gunicorn would wait for ever, so each body that stops half way would keep one of its
    connections.
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
    """Return the value of a body in JSON. Raises BadRequest.

    ``pairs`` builds each object from its list of keys and values. NaN and infinities,
    which Python accepts, are refused: they are not JSON, and no browser can read them.
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
        raise ValueError(f"{text:.20} is not a finite number")
    return value


def _too_large(max_bytes: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"the body has more than {max_bytes} bytes")
