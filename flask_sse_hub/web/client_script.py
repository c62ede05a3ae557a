"""The browser client: serving its files, and the elements by which a page finds it.

Knows Flask's URLs and responses. Does not know how the client works, or streams.
"""

import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from flask import Response, request, url_for
from markupsafe import Markup
from werkzeug.datastructures import Headers
from werkzeug.http import dump_header, parse_set_header

from ..errors import InvalidOption
from ..events.channel_patterns import checked_subscription
from . import client_package

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CLIENT_FILE = "sse-hub.js"
#: The file by which a browser's developer tools show the readable sources.
SOURCE_MAP = f"{CLIENT_FILE}.map"

# The other modules that pages import without a bundler: names and files. They import
# nothing, because an import in them could not have a hash.
_OTHER_MODULES = {
    f"{client_package.NAME}/answer": "sse-hub-answer.js",
    f"{client_package.NAME}/refresh": "sse-hub-refresh.js",
}
# The file that the core imports itself, for streams that tabs share.
_SHARED_FILE = "sse-hub-shared.js"
#: The files of these modules, and their source maps.
OTHER_FILES = tuple(
    name
    for file in (*_OTHER_MODULES.values(), _SHARED_FILE)
    for name in (file, f"{file}.map")
)

# A URL with the file's hash always returns the same file, so a browser may keep it for
# a year, the customary maximum. Without the hash the browser has to ask each time.
_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"

# Hexadecimal digits of the SHA-256. 64 bits suffice: nobody builds these files so that
# their hashes collide.
_HASH_CHARS = 16

# The HTML parser ends a script at "</script", even within a string. In JSON these
# characters occur only in strings, where they may be written as escapes.
_IN_SCRIPT = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


class ClientResponse(Response):
    """A file of the client: the same bytes for every visitor."""

    default_mimetype = "text/javascript"

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        """Remove the headers that the app's hooks have added for this visitor.

        With ``Set-Cookie`` a cache would send one visitor's cookie to all. With ``Vary:
        Cookie`` it would keep a copy for each visitor.
        """
        headers = super().get_wsgi_headers(environ)
        headers.remove("Set-Cookie")
        vary = parse_set_header(headers.pop("Vary", None))
        others = [name for name in vary if name.lower() != "cookie"]
        if others:
            headers["Vary"] = dump_header(others)
        return headers


def client_file(name: str) -> Response:
    """Return a file of the client, or 304 if the browser has this version already."""
    content, version = _content(name)
    compressed = request.accept_encodings.quality("gzip") > 0
    response = ClientResponse(
        _compressed(name) if compressed else content,
        mimetype="application/json" if name.endswith(".map") else None,
    )
    response.vary.add("Accept-Encoding")
    if compressed:
        response.content_encoding = "gzip"
    response.set_etag(f"{version}-gzip" if compressed else version)
    asked = request.args.get("v")
    response.headers["Cache-Control"] = _FOR_GOOD if asked == version else _ASK_FIRST
    response.make_conditional(request)
    return response


def head_of_page(
    channels: Sequence[str],
    *,
    url: str | None,
    nonce: str | None,
    client_id: str,
    user_id: str | None,
    cursor: str | None,
) -> Markup:
    """Return the elements for a page's head: the stream's data, and the import map.

    The meta element tells ``connect()`` which stream to open. The import map tells the
    page's modules where to load ``connect()`` from.

    Raises InvalidName for a channel, and InvalidOption for channels beside a URL.
    """
    if channels and url is not None:
        raise InvalidOption(
            f"script() was given channels and url={url!r}: the view behind that URL"
            " decides about its channels, so leave out the channels or the URL"
        )
    attributes = {
        "data-url": _stream_url(channels) if url is None else url,
        "data-client-id": client_id,
    }
    if user_id is not None:
        # Another user may be logged in by the time the page connects.
        attributes["data-user-id"] = user_id
    if cursor is not None:
        attributes["data-last-event-id"] = cursor
    addresses = {
        client_package.NAME: url_for("sse_hub.client", v=_content(CLIENT_FILE)[1])
    }
    for module, file in _OTHER_MODULES.items():
        addresses[module] = _module_url(file)
    # An import map also replaces URLs: the core imports the file without its hash.
    unversioned = url_for("sse_hub.client_module", name=_SHARED_FILE)
    addresses[unversioned] = _module_url(_SHARED_FILE)
    imports = json.dumps({"imports": addresses}).translate(_IN_SCRIPT)
    return Markup('<meta name="{}"{}>\n<script type="importmap"{}>{}</script>').format(
        client_package.NAME,
        _written(attributes),
        _written({} if nonce is None else {"nonce": nonce}),
        Markup(imports),  # noqa: S704 - escaped above, as scripts are
    )


def _module_url(file: str) -> str:
    return url_for("sse_hub.client_module", name=file, v=_content(file)[1])


def _stream_url(channels: Sequence[str]) -> str:
    names = [checked_subscription(name, call="script") for name in channels]
    return url_for("sse_hub.stream", channel=names)


def _written(attributes: dict[str, str]) -> Markup:
    return Markup("").join(
        Markup(' {}="{}"').format(name, value) for name, value in attributes.items()
    )


@cache
def _compressed(name: str) -> bytes:
    # mtime=0: with the time in it, workers would send different bytes under one ETag.
    return gzip.compress(_content(name)[0], mtime=0)


@cache
def _content(name: str) -> tuple[bytes, str]:
    """Return a file of the client and its hash. A process reads the file once."""
    content = client_package.file(name)
    return content, hashlib.sha256(content).hexdigest()[:_HASH_CHARS]
