"""Origins: which other sites' pages may use the endpoints.

CORS by exact origin, with credentials; nothing is allowed that is not configured.
"""

from collections.abc import Collection

from flask import Response, request
from werkzeug.exceptions import Forbidden

# What a client of a stream or a publisher sends beyond what is always allowed.
_REQUEST_HEADERS = "Authorization, Cache-Control, Content-Type, Last-Event-ID, Prefer"

# How long a browser may keep the answer to a preflight: two hours is the most that any
# of them does.
_MAX_AGE_SECONDS = 7200


class Origins:
    """The origins that one app allows."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)

    def add_headers(self, response: Response) -> Response:
        """Add to a response, also a refusal, what lets an allowed page read it."""
        if not self._allowed:
            return response
        # A cache must not give one site's answer to another.
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin not in self._allowed:
            return response
        response.access_control_allow_origin = origin
        response.access_control_allow_credentials = True
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = response.headers.get(
                "Allow", ""
            )
            response.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
            response.access_control_max_age = _MAX_AGE_SECONDS
        return response

    def refuse_others(self) -> None:
        """Raise Forbidden for a stream that another site's page has asked for.

        Such a page could not read it, but it would come with the visitor's cookies: it
        would count against the user's limit, and end streams that are in use.
        """
        if (
            request.headers.get("Sec-Fetch-Site") == "cross-site"
            and request.headers.get("Origin") not in self._allowed
        ):
            raise Forbidden(
                "pages of this origin may not open streams (SSE_HUB_CORS_ORIGINS)"
            )
