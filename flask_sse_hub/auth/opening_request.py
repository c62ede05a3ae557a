"""The opening request of a stream: as much of it as loaders and rules may ask later.

Knows WSGI environs. Does not know users or streams.
"""

import io
import sys
from typing import Any, NamedTuple

# The variables that differ from visitor to visitor, of which only the values are kept.
# All others are shared.
_OWN = ("HTTP_AUTHORIZATION", "HTTP_COOKIE", "QUERY_STRING", "REMOTE_ADDR")
_COMMON = (
    "PATH_INFO",
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "wsgi.url_scheme",
)

# Headers that are kept with the visitor's own, and headers that say nothing about the
# visitor, or only about the connection.
_LEFT_OUT = frozenset(
    {
        *_OWN,
        "HTTP_ACCEPT",
        "HTTP_ACCEPT_ENCODING",
        "HTTP_CACHE_CONTROL",
        "HTTP_CONNECTION",
        "HTTP_LAST_EVENT_ID",
        "HTTP_PRAGMA",
        "HTTP_TE",
    }
)
_LEFT_OUT_PREFIX = "HTTP_SEC_"

_FLAGS = ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")

# The most kinds of requests that share their common part. Clients choose their headers,
# so that there may be any number of kinds.
_MAX_KINDS = 1_000

_SEPARATOR = "\n"


class OpeningRequest(NamedTuple):
    """The request that opened a stream, without its body.

    Each open stream keeps one, so it is two strings: ``common`` is shared by all
    streams of equal browsers, ``own`` has the values of the visitor's variables.
    """

    common: str
    own: str

    def environ(self) -> dict[str, Any]:
        """Return a new WSGI environ of the request."""
        lines = self.common.split(_SEPARATOR)
        found: dict[str, Any] = dict(zip(lines[::2], lines[1::2], strict=True))
        own = zip(_OWN, self.own.split(_SEPARATOR), strict=True)
        # A header that was not sent is kept as an empty one.
        found |= {key: text for key, text in own if text or key[:5] != "HTTP_"}
        for flag in _FLAGS:
            found[flag] = flag in found
        return found | {
            "wsgi.version": (1, 0),
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
        }


class OpeningRequests:
    """Keep the opening requests of one app's streams small."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}

    def keep(self, environ: dict[str, Any]) -> OpeningRequest:
        """Return what is kept of a request."""
        names = [
            name
            for name in environ
            if name[:5] == "HTTP_"
            and name not in _LEFT_OUT
            and name[:9] != _LEFT_OUT_PREFIX
        ]
        common = [
            text
            for name in (*_COMMON, *names)
            if name in environ
            for text in (name, environ[name])
        ]
        own = [environ.get(name, "") for name in _OWN]
        for flag in _FLAGS:
            if environ.get(flag):
                common += flag, ""
        kind = _joined(common)
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        return OpeningRequest(self._kinds.setdefault(kind, kind), _joined(own))


def _joined(texts: list[str]) -> str:
    joined = _SEPARATOR.join(texts)
    if joined.count(_SEPARATOR) >= len(texts) > 0:
        # A path may have a line end, which would forge other variables.
        return _SEPARATOR.join(text.replace(_SEPARATOR, " ") for text in texts)
    return joined
