"""Webhooks: views that only see deliveries which their provider signed.

The thin Flask side of ``signatures``: the raw body with a bound, refusals, and a key by
which a delivery that comes again is published once.
"""

import functools
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from flask import current_app, request
from werkzeug.exceptions import InternalServerError, Unauthorized

from ..errors import ConfigurationError, InvalidSignature, SSEHubError
from ..runtime.rare_log import RareLog
from ..web.request_body import parse_json, read_body
from .schemes import Scheme

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")


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
        """Return what the body says in JSON; raise BadRequest where it is none."""
        return parse_json(self.body)


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
        rare_log = RareLog(log)

        @functools.wraps(view)
        def verified(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                _check_not_parsed()
                body = read_body(max_bytes)
                signed = scheme.verify(request.headers, body, now=time.time())
            except InvalidSignature as error:
                rare_log.say("refused", _said(error))
                raise Unauthorized(str(error)) from error
            except ConfigurationError as error:
                # Of a kind of its own: what anybody can cause must not hide it.
                rare_log.say("broken", _said(error), level=logging.ERROR)
                raise InternalServerError("the signature cannot be checked") from error
            key = _idempotency_key(scheme, signed.content)
            delivery = Delivery(signed.id, key, body)
            answer: _R = current_app.ensure_sync(view)(delivery, *args, **kwargs)
            return answer

        return verified

    return decorate


def _check_not_parsed() -> None:
    if "form" in vars(request) and (request.form or request.files):
        raise ConfigurationError(
            "the body was parsed as a form before its signature could be checked: what"
            " does that, a CSRF protection for one, must leave this view out"
        )


def _said(error: SSEHubError) -> str:
    return f"a webhook to {request.endpoint} was refused: {error}"


def _idempotency_key(scheme: Scheme, content: bytes) -> str:
    # A provider may send the same to several views, or to one for several tenants that
    # its URL names: each has an event of its own. The path and not the arguments of the
    # view, which hooks may take away and converters may make objects of. A digest,
    # since what a provider sends may be too long for a key.
    path = request.path.rstrip("/").encode(errors="surrogatepass")
    digest = hashlib.sha256(path + b"\n" + content)
    return f"{scheme.name}-{digest.hexdigest()}"
