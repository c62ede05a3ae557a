"""The HTTP responses of streams: headers that keep proxies from buffering, refusals.

Knows Werkzeug's responses and the request's headers. Does not know what is streamed.
"""

import json
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
    # Some shared caches are configured to ignore no-cache, and would give one user's
    # stream to another. They still obey private. Without no-transform, a proxy that
    # compresses holds events back to fill its buffer.
    "Cache-Control": "private, no-cache, no-transform",
    # Without this header, nginx delivers nothing of a stream, not even its headers.
    "X-Accel-Buffering": "no",
}

# The name of no coding, for hooks of the app. It is not sent: RFC 9110, section 8.4.1.
_NO_CODING = "identity"

# The request headers that accepted_coding() reads.
_CODING_DEPENDS_ON = ("Accept-Encoding", "User-Agent")

# HTTP libraries that offer codings by themselves, and below whose decoder a known
# client of event streams reads: PyPI's sseclient, which would lose the events' ids.
_OFFER_UNASKED = ("python-requests/",)

# Responses with these statuses must not have a body. A hook of the app that makes all
# responses conditional may turn a stream into a 304. The peer would then read the
# stream's bytes as the beginning of the next response.
_WITHOUT_BODY = (204, 304)


#: The value of Retry-After for clients that handle statuses, in seconds.
RETRY_AFTER = "10"


def keep_out_of_caches(response: Response) -> Response:
    """Forbid caches to store a response that has no ``Cache-Control`` of its own.

    Some caches store refusals too. One visitor's 401, or a 503 that has passed, would
    then be served to everybody. Caches that are configured to ignore ``no-store`` still
    obey ``private``.
    """
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


def accepted_coding(names: Sequence[str]) -> str | None:
    """Return the content coding that the request prefers, None for no coding.

    The first of several equally preferred names wins. Source: RFC 9110, section 12.5.3.

    Some HTTP libraries offer codings without being asked. Their programs receive a
    coding only if the request ranks ``identity`` below it.
    """
    environ = request.environ
    return _best_coding(
        environ.get("HTTP_ACCEPT_ENCODING"),
        tuple(names),
        unasked=environ.get("HTTP_USER_AGENT", "").startswith(_OFFER_UNASKED),
    )


# All browsers together send only a few different headers. Parsing one takes long enough
# to matter when thousands of clients reconnect at once.
@lru_cache(maxsize=64)
def _best_coding(
    accepted: str | None, names: tuple[str, ...], *, unasked: bool
) -> str | None:
    given = parse_accept_header(accepted)
    best = max(names, key=given.quality, default="identity")
    gain, plain = given.quality(best), given.quality("identity")
    ranked = given.find("identity") >= 0 and gain > plain
    likes = best != "identity" and gain > 0 and gain >= plain
    return best if likes and (ranked or not unasked) else None


def refused(why: str, *, status: int, for_event_source: bool = True) -> Response:
    """Return a temporary refusal in the form that the client understands.

    A native EventSource never reconnects after a 429 or 503. A GET therefore receives a
    stream that only sets the reconnect delay, and ends. Clients that handle statuses
    send ``Prefer: sse-status``; they receive the status with ``Retry-After``. So does
    any other method, and any request for a stream that no native EventSource reads.
    """
    handles_statuses = _handles_statuses() or not for_event_source
    if request.method in ("GET", "HEAD") and not handles_statuses:
        return StreamResponse(refusal_stream())
    response = error_response(why, status=status)
    response.headers["Retry-After"] = RETRY_AFTER
    return keep_out_of_caches(response)


def error_response(text: str, *, status: int) -> Response:
    """Return an error as ``{"error": text}`` for programs, otherwise as plain text.

    A request of a program accepts JSON, has a body in JSON, or comes from the browser
    client, which sends ``Prefer: sse-status``. An error is never a page of HTML: an
    EventSource does not show it, and neither do network tools.
    """
    if _handles_statuses() or _reads_json():
        # The app's JSON provider is not used: an error may repeat the client's text,
        # and not every provider can write every text.
        body = json.dumps({"error": text}) + "\n"
        return Response(body, status, mimetype="application/json")
    # The text may repeat a name that was sent, so no browser may take it for a page.
    headers = {"X-Content-Type-Options": "nosniff"}
    return Response(text, status, headers, mimetype="text/plain")


def _handles_statuses() -> bool:
    return "sse-status" in request.headers.get("Prefer", "")


def _reads_json() -> bool:
    # "*/*" does not count: it is sent by browsers and by curl, whose users read text.
    accepted = request.accept_mimetypes
    return request.is_json or any(
        name == "application/json" and quality > 0 for name, quality in accepted
    )


class StreamBody(Iterator[bytes], Protocol):
    """The body of a stream. The server iterates it, and always closes it at the end."""

    #: The body calls this once, when the server is done with the response.
    on_close: Callable[[], None] | None

    def close(self) -> None:
        """Release everything. The server calls this however the iteration ended."""


class StreamResponse(Response):
    """A ``text/event-stream`` response."""

    default_mimetype = "text/event-stream"

    # Otherwise a hook that reads the response's data would wait for the stream's end.
    implicit_sequence_conversion = False

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Create an object that is also an instance of the app's ``response_class``.

        Flask converts any other response of a view to that class. The methods of this
        class would be lost: cookies would be sent, and sockets not be taken over.
        """
        own = current_app.response_class if current_app else Response
        if issubclass(cls, own):
            return super().__new__(cls)
        both: type[Self] = _both((cls, own))
        return super().__new__(both)

    def __init__(self, body: StreamBody | bytes, *, coding: str | None = None) -> None:
        super().__init__(body, headers=_HEADERS)
        self._stream = None if isinstance(body, bytes) else body
        # Extensions that compress responses would hold events back. They leave those
        # alone that have a coding.
        self.content_encoding = coding or _NO_CODING
        if coding is not None:
            self.vary.update(_CODING_DEPENDS_ON)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Start the response, and prepare the stream for taking its socket over."""
        body, status, headers = self.get_wsgi_response(environ)
        write = start_response(status, headers)
        if isinstance(body, TakeoverStream):
            body.offer(environ, write)
        return body

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        """Return the headers without cookies, and without a coding if there is none.

        A session cookie in each response would keep the session of an idle page alive,
        because its stream reconnects again and again.
        """
        headers = super().get_wsgi_headers(environ)
        headers.remove("Set-Cookie")
        if headers.get("Content-Encoding") == _NO_CODING:
            headers.remove("Content-Encoding")
        return headers

    def get_app_iter(self, environ: "WSGIEnvironment") -> Iterable[bytes]:
        """Hand the stream itself to the server, with nothing wrapped around it."""
        has_no_body = (
            environ["REQUEST_METHOD"] == "HEAD" or self.status_code in _WITHOUT_BODY
        )
        # A hook of the app may have replaced the stream by another body.
        if has_no_body or self._stream is None or self.response is not self._stream:
            return super().get_app_iter(environ)
        self._stream.on_close = self.close
        return self._stream


# An app has one response class. Tests that replace it create more.
@lru_cache(maxsize=8)
def _both(classes: tuple[type[Response], type[Response]]) -> Any:
    return type(classes[0].__name__, classes, {})
