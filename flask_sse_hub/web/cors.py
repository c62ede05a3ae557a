"""Origins: the other sites whose pages may use the endpoints.

Answers CORS requests by exact origin, with credentials. Only configured origins are
allowed. Does not know streams or logins.
"""

import re
from collections.abc import Collection

from flask import Response, request
from werkzeug.exceptions import Forbidden

# The request headers of clients and publishers beyond those that CORS always allows.
_REQUEST_HEADERS = "Authorization, Cache-Control, Content-Type, Last-Event-ID, Prefer"

# How long a browser may keep the answer to a preflight. Two hours is the most that
# Chromium accepts.
_MAX_AGE_SECONDS = 7200

# The response headers that a page of another origin may read.
_READABLE = "Retry-After, Answer-ID"


class Origins:
    """The origins that one app allows."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)

    def add_headers(self, response: Response) -> Response:
        """Add the headers by which a page of an allowed origin may read a response.

        Refusals need them too: without them the page could not read the status.
        """
        if not self._allowed:
            return response
        # Without Vary a cache would give one site's response to another site.
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin not in self._allowed:
            return response
        response.access_control_allow_origin = origin
        response.access_control_allow_credentials = True
        response.headers["Access-Control-Expose-Headers"] = _READABLE
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = response.headers.get(
                "Allow", ""
            )
            response.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
            response.access_control_max_age = _MAX_AGE_SECONDS
        return response

    def refuse_others(self) -> None:
        """Raise Forbidden for a stream that a page of another origin asks for.

        Browsers would not let that page read the stream, but the request comes with the
        visitor's cookies, also from a sibling subdomain. The stream would count against
        the user's limit and end streams that are in use.
        """
        if request.headers.get("Origin") not in self._allowed and is_foreign():
            raise Forbidden(
                "pages of this origin may not open streams: add the origin to"
                " SSE_HUB_CORS_ORIGINS to allow it. If it is the app's own, the proxy"
                " has to pass the Host header on, or ProxyFix has to read x_host"
            )


def is_foreign() -> bool:
    """Tell whether a page of another origin has sent the request.

    Each header is looked at where it is sent. No page can change them, but older
    browsers have no Sec-Fetch-Site, and images are loaded without an Origin.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    if origin is None or site == "same-origin":
        return site in ("cross-site", "same-site")
    return _host_of(origin) != _without_usual_port(request.host)


def _host_of(origin: str) -> str:
    """Return the host and port of an origin; "null" and other texts have none."""
    # The scheme does not count: behind a proxy that ends TLS the app sees another one.
    return _without_usual_port(origin.partition("://")[2])


def _without_usual_port(host: str) -> str:
    return re.sub(":(80|443)$", "", host.lower())
