"""The responses of streams: headers that keep proxies out of the way.

Knows Werkzeug's responses; not what is streamed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self

from flask import Response, current_app, request
from werkzeug.datastructures import Headers
from werkzeug.http import parse_accept_header

from ..hub.clients.admission import refusal_stream
from .takeover import TakeoverStream

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_HEADERS = {
    # no-transform: a proxy that compresses would hold events back to fill its buffer.
    "Cache-Control": "no-cache, no-transform",
    # nginx otherwise delivers nothing of a stream, not even its headers.
    "X-Accel-Buffering": "no",
}

# A hook that makes all responses conditional may turn one into a 304: what came after
# its head would be taken for the next response.
_WITHOUT_BODY = (204, 304)


#: The value of Retry-After for clients that handle statuses, in seconds.
RETRY_AFTER = "10"


def keep_out_of_caches(response: Response) -> Response:
    """Have no cache keep an answer, unless it says for itself what one may do.

    Some keep also refusals for a while: one visitor's 401, or a 503 that has passed,
    would be everybody's answer.
    """
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def accepted_coding(names: Sequence[str]) -> str | None:
    """Return the content coding that the request likes best of some, None for none.

    Of those it likes equally it is the first. Source: RFC 9110, section 12.5.3.
    """
    return _best_coding(request.headers.get("Accept-Encoding"), tuple(names))


# Browsers have a few such headers among them, and to read one takes a while in which
# thousands of clients come back.
@lru_cache(maxsize=64)
def _best_coding(accepted: str | None, names: tuple[str, ...]) -> str | None:
    quality = parse_accept_header(accepted).quality
    best = max(names, key=quality, default="identity")
    likes = best != "identity" and quality(best) > 0
    return best if likes and quality(best) >= quality("identity") else None


def refused(why: str, *, status: int) -> Response:
    """Tell a refusal that will pass in the way that the client understands.

    A native EventSource never comes back from a 429 or 503, so a GET gets a stream that
    says when to come back, and ends. Others say that they handle statuses.
    """
    handles_statuses = "sse-status" in request.headers.get("Prefer", "")
    if request.method in ("GET", "HEAD") and not handles_statuses:
        return StreamResponse(refusal_stream())
    return Response(why, status, {"Retry-After": RETRY_AFTER}, mimetype="text/plain")


class StreamBody(Iterator[bytes], Protocol):
    """What a server iterates, and closes however that ended."""

    #: To be called once when the server is done with the response.
    on_close: Callable[[], None] | None

    def close(self) -> None:
        """Release everything."""


class StreamResponse(Response):
    """A ``text/event-stream`` response."""

    default_mimetype = "text/event-stream"

    # A hook that looks at the response's data would wait for the end of the stream.
    implicit_sequence_conversion = False

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Be of the app's ``response_class`` too.

        Flask turns whatever else a view returns into that class, and into that alone:
        cookies would be sent again, and no socket be taken over.
        """
        own = current_app.response_class if current_app else Response
        if issubclass(cls, own):
            return super().__new__(cls)
        both: type[Self] = _both((cls, own))
        return super().__new__(both)

    def __init__(self, body: StreamBody | bytes, *, coding: str | None = None) -> None:
        super().__init__(body, headers=_HEADERS)
        self._stream = None if isinstance(body, bytes) else body
        if coding is not None:
            self.content_encoding = coding
            self.vary.add("Accept-Encoding")

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer the server, and offer it to be relieved of the connection."""
        body, status, headers = self.get_wsgi_response(environ)
        write = start_response(status, headers)
        if isinstance(body, TakeoverStream):
            body.offer(environ, write)
        return body

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        """Leave cookies out: a stream that reconnects would keep a session alive."""
        headers = super().get_wsgi_headers(environ)
        headers.remove("Set-Cookie")
        return headers

    def get_app_iter(self, environ: "WSGIEnvironment") -> Iterable[bytes]:
        """Hand the stream itself to the server, with nothing wrapped around it."""
        has_no_body = (
            environ["REQUEST_METHOD"] == "HEAD" or self.status_code in _WITHOUT_BODY
        )
        # A hook of the app may have put something else in its place.
        if has_no_body or self._stream is None or self.response is not self._stream:
            return super().get_app_iter(environ)
        self._stream.on_close = self.close
        return self._stream


# An app has one such class; a test that replaces it makes more of them.
@lru_cache(maxsize=8)
def _both(classes: tuple[type[Response], type[Response]]) -> Any:
    return type(classes[0].__name__, classes, {})
