"""What keeps other sites out, in headers that browsers know."""

import secrets

from flask import Flask, Response, g, request
from werkzeug.exceptions import Forbidden

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # The address of a stream holds a client id, which is nobody else's business.
    "Referrer-Policy": "same-origin",
}

_CHANGE_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


def init_app(app: Flask) -> None:
    """Check where each request comes from, and send the headers with each answer."""
    app.before_request(_refuse_changes_by_other_sites)
    app.after_request(_add_headers)
    app.template_global()(csp_nonce)


def csp_nonce() -> str:
    """Return what marks this answer's own inline scripts.

    Nothing else inline is run: a text that gets into a page by mistake, with a script
    in it, cannot know it. The one inline script here is the import map.
    """
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    nonce: str = g.csp_nonce
    return nonce


def refuse_other_sites() -> None:
    """Refuse a request that a page of another site has made, or a link there."""
    # Browsers say where a request comes from; programs, webhooks among them, do not
    # send this header.
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none"):
        raise Forbidden("this request was made by another site")


def _refuse_changes_by_other_sites() -> None:
    # SameSite takes the cookie from a request of another site, but the login form needs
    # no cookie: such a site could sign people in as somebody else.
    if request.method not in _CHANGE_NOTHING:
        refuse_other_sites()


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", _policy())
    if response.mimetype == "text/html":
        # A page that is kept would have an old nonce, and the client id of another tab.
        response.cache_control.no_store = True
    return response


def _policy() -> str:
    nonce = g.get("csp_nonce")
    scripts = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
    return (
        f"default-src 'self'; script-src {scripts}; object-src 'none';"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
