"""Webhooks: views that only see deliveries which their provider signed.

The thin Flask side of ``signatures``: the raw body with a bound, refusals, and a key by
which a delivery that comes again is published once.
"""

import functools
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from flask import current_app, request
from werkzeug.exceptions import (
    BadRequest,
    InternalServerError,
    RequestEntityTooLarge,
    Unauthorized,
)
from werkzeug.wsgi import get_input_stream

from .errors import ConfigurationError, InvalidSignature, SSEHubError
from .signatures import HMAC, GitHub, Scheme, Secrets, StandardWebhooks, Stripe

__all__ = [
    "HMAC",
    "Delivery",
    "GitHub",
    "Scheme",
    "Secrets",
    "StandardWebhooks",
    "Stripe",
    "webhook",
]

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Anybody can be refused at any rate: it is said so often, and the others are counted.
_LOG_INTERVAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery, whose body is signed.

    ``id`` is the provider's name for it, or None; whether it is signed depends on the
    scheme. ``idempotency_key`` is the same whenever its URL gets this delivery again,
    and made of nothing of the request but that URL's path and what is signed.
    """

    id: str | None
    idempotency_key: str
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return what the body says in JSON; raise BadRequest where it is none.

        Python's NaN and infinities are not JSON: no browser could read them.
        """
        try:
            return json.loads(self.body, parse_constant=_finite, parse_float=_finite)
        except RecursionError as error:
            raise BadRequest("the body is nested too deeply") from error
        except ValueError as error:
            raise BadRequest("the body is not JSON") from error


def webhook(
    scheme: Scheme, *, max_bytes: int = 1_048_576
) -> Callable[[Callable[Concatenate[Delivery, _P], _R]], Callable[_P, _R]]:
    """Have a view called with each Delivery that its provider signed.

    The view's first argument is the delivery; those of its URL follow::

        @app.post("/webhooks/github")
        @webhook(GitHub(os.environ["GITHUB_SECRET"]))
        def pushed(delivery):
            sse_hub.publish(
                delivery.json(),
                channel="builds",
                idempotency_key=delivery.idempotency_key,
            )
            return "", 204

    What is not signed is refused with 401, and a body above ``max_bytes`` or the app's
    MAX_CONTENT_LENGTH with 413. Where a callable returns no secret, or the body was
    parsed as a form before, it is 500, and the log says why.
    """

    def decorate(view: Callable[Concatenate[Delivery, _P], _R]) -> Callable[_P, _R]:
        # Two, since what anybody can cause must not hide what the operator has to mend.
        refused, broken = _SparseLog(logging.WARNING), _SparseLog(logging.ERROR)

        @functools.wraps(view)
        def verified(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                body = _read_body(max_bytes)
                signed = scheme.verify(request.headers, body, now=time.time())
            except InvalidSignature as error:
                refused.say(error)
                raise Unauthorized(str(error)) from error
            except ConfigurationError as error:
                broken.say(error)
                raise InternalServerError("the signature cannot be checked") from error
            key = _idempotency_key(scheme, signed.content)
            delivery = Delivery(signed.id, key, body)
            answer: _R = current_app.ensure_sync(view)(delivery, *args, **kwargs)
            return answer

        return verified

    return decorate


def _read_body(max_bytes: int) -> bytes:
    if "form" in vars(request) and (request.form or request.files):
        raise ConfigurationError(
            "the body was parsed as a form before its signature could be checked: what"
            " does that, a CSRF protection for one, must leave this view out"
        )
    if request.max_content_length is not None:
        max_bytes = min(max_bytes, request.max_content_length)
    if (request.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge
    # One more than allowed: at its limit the stream just ends. In the request's place,
    # so that the view too can ask the request for its data.
    request.stream = get_input_stream(request.environ, max_content_length=max_bytes + 1)
    body = request.get_data()
    if len(body) > max_bytes:
        raise RequestEntityTooLarge
    return body


def _idempotency_key(scheme: Scheme, content: bytes) -> str:
    # A provider may send the same to several views, or to one for several tenants that
    # its URL names: each has an event of its own. The path and not the arguments of the
    # view, which hooks may take away and converters may make objects of. A digest,
    # since what a provider sends may be too long for a key.
    path = request.path.rstrip("/").encode(errors="surrogatepass")
    digest = hashlib.sha256(path + b"\n" + content)
    return f"{scheme.name}-{digest.hexdigest()}"


class _SparseLog:
    """Says why deliveries are refused, but not at their rate."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._quiet_until = 0.0
        self._unsaid = 0

    def say(self, error: SSEHubError) -> None:
        """Log why this one was, or count it for the next line."""
        now = time.monotonic()
        if now < self._quiet_until:
            self._unsaid += 1
            return
        log.log(
            self._level,
            "a webhook to %s was refused: %s; %d more since the last such line",
            request.endpoint,
            error,
            self._unsaid,
        )
        self._quiet_until = now + _LOG_INTERVAL_SECONDS
        self._unsaid = 0


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
