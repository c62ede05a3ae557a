"""What keeps other sites out, in headers that browsers know."""

from flask import Flask, Response, request
from werkzeug.exceptions import Forbidden

_HEADERS = {
    # Nothing inline: a text that gets into the page by mistake is never run as code.
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # The address of a stream holds a client id, which is nobody else's business.
    "Referrer-Policy": "same-origin",
}

_CHANGE_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


def init_app(app: Flask) -> None:
    """Check where each request comes from, and send the headers with each answer."""
    app.before_request(_refuse_other_sites)
    app.after_request(_add_headers)


def _refuse_other_sites() -> None:
    # SameSite takes the cookie from a request of another site, but the login form needs
    # no cookie: such a site could sign people in as somebody else. Browsers say where a
    # request comes from; programs, webhooks among them, do not send this header.
    site = request.headers.get("Sec-Fetch-Site", "none")
    if request.method not in _CHANGE_NOTHING and site not in ("same-origin", "none"):
        raise Forbidden("this request was made by another site")


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
