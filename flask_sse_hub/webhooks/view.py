"""The decorator ``webhook``: a view receives only deliveries that a provider signed.

The thin Flask side of ``schemes``. Reads the raw body up to a bound, refuses bad
deliveries, and makes the key by which a delivery that is sent again is published once.
"""

import functools
import hashlib
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from flask import current_app, request
from werkzeug.exceptions import InternalServerError, Unauthorized
from werkzeug.routing import BaseConverter, Rule

from ..errors import ConfigurationError, InvalidSignature, SSEHubError
from ..runtime import tracing
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog
from .request_body import parse_json, read_body
from .schemes import Scheme

log = CodedLog(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")

# The types of Werkzeug's own converters. The text of such a value is always the same.
_PLAIN = (str, int, float, uuid.UUID)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery, whose body is signed.

    ``id`` is the provider's id of the delivery, or None; some schemes do not sign it.
    ``idempotency_key`` is the same each time that the same view receives this delivery.
    It is made of signed content, the view and the arguments of its URL, so another
    spelling of the same URL does not make another key.
    """

    id: str | None
    idempotency_key: str
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the body, parsed as JSON. Raises BadRequest if it is not JSON."""
        return parse_json(self.body)


def webhook(
    scheme: Scheme, *, max_bytes: int = 1_048_576
) -> Callable[[Callable[Concatenate[Delivery, _P], _R]], Callable[_P, _R]]:
    """Call a view with each Delivery that its provider signed; refuse all others.

    The delivery is the first argument of the view, before the arguments of its URL::

        @app.post("/webhooks/github")
        @webhook(GitHub(os.environ["GITHUB_SECRET"]))
        def pushed(delivery):
            sse_hub.publish(
                delivery.json(),
                channel="builds",
                idempotency_key=delivery.idempotency_key,
            )
            return "", 204

    A delivery without a valid signature is answered with 401. A body above
    ``max_bytes`` or the app's MAX_CONTENT_LENGTH is answered with 413. If a function
    returns no secret, or the body has already been parsed as a form, the answer is 500,
    and the log has the reason.

    Args:
        scheme: The way in which the provider signs.
        max_bytes: The most bytes that a body may have.

    Returns:
        A decorator for views.

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
                rare_log.warning("SSE-1801", _said(error))
                raise Unauthorized(str(error)) from error
            except ConfigurationError as error:
                # A kind of its own: refusals, which anybody can cause, must not keep it
                # out of the log.
                rare_log.error("SSE-1802", _said(error))
                raise InternalServerError("the signature cannot be checked") from error
            key = _idempotency_key(scheme, signed.content)
            delivery = Delivery(signed.id, key, body)
            with _step(scheme, delivery):
                answer: _R = current_app.ensure_sync(view)(delivery, *args, **kwargs)
            return answer

        return verified

    return decorate


def _step(scheme: Scheme, delivery: Delivery) -> AbstractContextManager[object]:
    """Return the step of a delivery in the app's trace: its publishes belong to it.

    It links to the step of the sender, if the request names one.
    """
    if not tracing.is_on():
        return nullcontext()
    name = f"receive {scheme.name}"
    attributes: dict[str, str | int] = {
        "messaging.system": "sse_hub",
        "messaging.operation.name": "receive",
        "messaging.operation.type": "process",
        "messaging.message.body.size": len(delivery.body),
        "sse_hub.idempotency_key": delivery.idempotency_key,
    }
    if delivery.id is not None:
        attributes["messaging.message.id"] = delivery.id
    tracing.leave_crumb(name, attributes)
    # Not signed, so it is no parent: a stranger could add to anybody's trace.
    sender = request.headers.get("traceparent", "")
    return tracing.Step(
        name,
        kind="CONSUMER",
        attributes=attributes,
        follows=sender if tracing.is_traceparent(sender) else None,
    )


def _check_not_parsed() -> None:
    if "form" in vars(request) and (request.form or request.files):
        raise ConfigurationError(
            "the body was parsed as a form before its signature could be checked:"
            " exempt this view from the code that does so, such as a CSRF protection"
        )


def _said(error: SSEHubError) -> str:
    return f"a webhook to {request.endpoint} was refused: {error}"


def _idempotency_key(scheme: Scheme, content: bytes) -> str:
    # The key is a digest, since signed content may be too long for a key. The first
    # line has no line end in it, so two keys never digest the same bytes.
    view = repr(_view_of_request()).encode(errors="surrogatepass")
    digest = hashlib.sha256(view + b"\n" + content)
    return f"{scheme.name}-{digest.hexdigest()}"


def _view_of_request() -> tuple[object, ...]:
    """Return what tells the view and its arguments from all others.

    A provider may send the same delivery to several views, or to one view for several
    tenants in its URL, and each publishes an event of its own. The URL's spelling does
    not count: anybody can spell /hook/7 as /hook/07, and send a captured delivery
    there.
    """
    adapter = current_app.create_url_adapter(request)
    if adapter is None or request.url_rule is None:
        return (request.path,)
    # Matched again, since hooks of the app may have removed arguments.
    rule, arguments = adapter.match(return_rule=True)
    # The rule's host, not the request's: the variable parts are among the arguments.
    host = rule.host if adapter.map.host_matching else rule.subdomain
    named = [(name, _text(rule, name, arguments[name])) for name in sorted(arguments)]
    return (rule.endpoint, host, named)


def _text(rule: Rule, name: str, value: object) -> str:
    """Return the text of one argument, however the URL has spelled it."""
    if isinstance(value, _PLAIN):
        return repr(value)
    # An object that a converter of the app has made. Its own text may differ each time.
    # Werkzeug has no public way to ask for the converter of an argument.
    converter = rule._converters.get(name)  # noqa: SLF001
    if converter is None or type(converter).to_url is BaseConverter.to_url:
        return request.path.rstrip("/")
    return converter.to_url(value)
