"""The responses of streams: headers that keep proxies out of the way.

Knows Werkzeug's responses; not what is streamed.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from flask import Response
from werkzeug.datastructures import Headers

from .delivery import HijackedStream

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


def keep_out_of_caches(response: Response) -> Response:
    """Have no cache keep an answer, unless it says for itself what one may do.

    Some keep also refusals for a while: one visitor's 401, or a 503 that has passed,
    would be everybody's answer.
    """
    response.headers.setdefault("Cache-Control", "no-store")
    return response


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

    def __init__(self, body: StreamBody | bytes) -> None:
        super().__init__(body, headers=_HEADERS)
        self._stream = None if isinstance(body, bytes) else body

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer the server, and offer it to be relieved of the connection."""
        body, status, headers = self.get_wsgi_response(environ)
        write = start_response(status, headers)
        if isinstance(body, HijackedStream):
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
