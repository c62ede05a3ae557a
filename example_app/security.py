"""Protection against other sites, by headers that browsers know."""

import secrets

from flask import Flask, Response, g, request
from werkzeug.exceptions import Forbidden

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # The URL of a stream contains a client id, which other sites must not see.
    "Referrer-Policy": "same-origin",
}

_CHANGE_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


def init_app(app: Flask) -> None:
    """Check the origin of each request, and send the headers with each answer."""
    app.before_request(_refuse_changes_by_other_sites)
    app.after_request(_add_headers)
    app.template_global()(csp_nonce)


def csp_nonce() -> str:
    """Return the nonce that marks this answer's own inline scripts.

    Browsers run no other inline script. A script that gets into a page by mistake, in
    some text, cannot know the nonce. The only inline script here is the import map.
    """
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def refuse_other_sites() -> None:
    """Refuse a request that comes from a page or a link of another site."""
    # Browsers send this header. Programs do not, and neither do webhooks.
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none"):
        raise Forbidden("this request was made by another site")


def _refuse_changes_by_other_sites() -> None:
    # SameSite removes the cookie from a request of another site, but the login form
    # needs no cookie: such a site could sign people in as another user.
    if request.method not in _CHANGE_NOTHING:
        refuse_other_sites()


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", _policy())
    if response.mimetype == "text/html":
        # A stored page would have an old nonce and the client id of another tab.
        response.cache_control.no_store = True
    return response


def _policy() -> str:
    nonce = g.get("csp_nonce")
    scripts = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
    return (
        f"default-src 'self'; script-src {scripts}; object-src 'none';"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
