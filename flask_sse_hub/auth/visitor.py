"""The visitor: the user and the session behind a request, from Flask-Login.

Knows requests and sessions. Does not know streams. Flask-Login is an optional
dependency, needed only where a login is required. So this module looks for the app's
LoginManager instead of importing Flask-Login at its top.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from flask import Flask, abort, current_app, g, make_response, request, session
from werkzeug.exceptions import HTTPException, Unauthorized

from ..errors import ConfigurationError
from ..hub.clients.client import Identity
from .sessions import brought, known_session_id, renew_session_id, unnamed, user_in

#: The error of every stream that requires a login in an app without Flask-Login.
NO_LOGIN_MANAGER = (
    "SSE_HUB_LOGIN_REQUIRED needs Flask-Login, and this app has no LoginManager: pip"
    " install flask-login and call login_manager.init_app(app), or set"
    " SSE_HUB_LOGIN_REQUIRED = False to let anybody open a stream"
)


class Login(enum.Enum):
    """The way in which a visitor is logged in."""

    #: By Flask's session, or by the "remember me" cookie. Anonymous visitors too.
    SESSION = "session"
    #: By the request alone, such as a bearer token that a ``request_loader`` reads.
    REQUEST = "request"
    #: By a ticket that the app has signed.
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person or program that asks for a stream: the user object and its ids.

    ``channels`` are the channels that a ticket opens, None for a visitor without one.
    """

    person: Any
    identity: Identity
    login: Login
    channels: tuple[str, ...] | None = None


def login_manager(app: Flask) -> Any | None:
    """Return the app's Flask-Login manager, None if it has none."""
    return getattr(app, "login_manager", None)


def user_loader(app: Flask) -> Callable[[str], Any] | None:
    """Return the app's ``user_loader``, None if it has registered none."""
    return getattr(login_manager(app), "_user_callback", None)


def has_request_loader(app: Flask) -> bool:
    """Tell whether a request alone can log its user in, such as by a bearer token."""
    return getattr(login_manager(app), "_request_callback", None) is not None


def nobody(app: Flask) -> Any:
    """Return Flask-Login's anonymous user, None in an app without Flask-Login."""
    manager = login_manager(app)
    return None if manager is None else manager.anonymous_user()


def refuse_strangers() -> None:
    """Raise Unauthorized for a request that no login can belong to.

    A signed session with a user's id is enough to pass, or a signed "remember me"
    cookie: ``load_visitor()`` asks later whether that user is still there. Without
    either, only a ``request_loader`` can know the user, so the user is loaded here, and
    once more later.
    """
    manager = login_manager(current_app)
    if manager is None or user_in(session) is not None or _is_remembered():
        return
    if not is_logged_in(_current_user()):
        ask_for_login()


def _is_remembered() -> bool:
    """Tell whether the request has a "remember me" cookie that the app has signed.

    Loading the user by the cookie would fill the session, and the second load would
    find another session than the browser has sent.
    """
    from flask_login import COOKIE_NAME
    from flask_login.utils import decode_cookie

    name = current_app.config.get("REMEMBER_COOKIE_NAME", COOKIE_NAME)
    cookie = request.cookies.get(name)
    return cookie is not None and decode_cookie(cookie) is not None


def load_visitor(*, login_required: bool) -> Visitor:
    """Load the visitor that opens a stream, even if it was loaded in this request.

    A user that was loaded earlier in this request may have been logged out, deleted or
    locked since. The caller notes the log's head first, so that control records after
    it end the stream of a user that is shut out after this call.

    Raises Unauthorized, and ConfigurationError if a login is required and the app has
    no Flask-Login.
    """
    manager = login_manager(current_app)
    if manager is None:
        if login_required:
            raise ConfigurationError(NO_LOGIN_MANAGER)
        return Visitor(None, Identity(session=known_session_id()), Login.SESSION)
    if "_login_user" in g:
        # The loaded user stays in place meanwhile: the request_loader of
        # Flask-Security reads it.
        manager._load_user()  # noqa: SLF001
    user = _current_user()
    if login_required and not is_logged_in(user):
        ask_for_login()
    # A stream sets no cookie, so the browser never learns the id of a session that
    # begins in this request. A later logout would name another id and leave the stream
    # open. So only an id from the cookie counts.
    session_id = known_session_id()
    brought_id, _ = brought()
    identity = _identity_of(user, session_id if session_id == brought_id else None)
    return Visitor(user, identity, _login_of(identity))


def _login_of(identity: Identity) -> Login:
    """Tell how this request's user is logged in; SESSION for an anonymous visitor."""
    if identity.user is None or user_in(session) == identity.user:
        return Login.SESSION
    return Login.REQUEST


def ask_for_login() -> NoReturn:
    """Refuse a visitor without a login, as the app's own handler does or with 401.

    A redirect to a login page is replaced by the 401: a native EventSource could not
    tell why it failed, and other clients would take the page for success.
    """
    manager = login_manager(current_app)
    if getattr(manager, "unauthorized_callback", None) is not None:
        try:
            response = make_response(manager.unauthorized())  # type: ignore[union-attr]
        except HTTPException as refusal:
            if refusal.response is None and not _redirects(refusal.code):
                raise
            response = make_response(refusal.get_response())
        if not _redirects(response.status_code):
            abort(response)
    why = "log in to open this stream"
    if current_app.debug:
        why += ", or set SSE_HUB_LOGIN_REQUIRED = False to let anybody open one"
    raise Unauthorized(why)


def _redirects(status: int | None) -> bool:
    return status is not None and 300 <= status < 400


def current_identity() -> Identity:
    """Return the ids of this request's user and session.

    For requests that open no stream: a page, or a view that publishes.
    """
    user = None if login_manager(current_app) is None else _current_user()
    return _identity_of(user, known_session_id())


def lasting_identity() -> Identity:
    """Return the ids of this request's user and session, minting the session's id.

    For things that must end with the session, such as tickets. A session that was
    restored by "remember me" has no id yet, so it receives one here.
    """
    identity = current_identity()
    if identity.user is None or "_user_id" not in session:
        return identity
    return Identity(identity.user, session_id())


def _identity_of(user: Any, session_id: str | None) -> Identity:
    if not is_logged_in(user):
        return Identity(session=session_id)
    user_id = str(user.get_id())
    if session_id is None and "_user_id" in session:
        session_id = unnamed(user_id)
    return Identity(user_id, session_id)


def is_logged_in(user: Any) -> bool:
    """Tell whether a user object is an authenticated user that is not locked.

    A user object without these two attributes counts as logged in: an app without
    Flask-Login may use objects of its own.
    """
    return user is not None and bool(
        getattr(user, "is_authenticated", True) and getattr(user, "is_active", True)
    )


def _current_user() -> Any:
    from flask_login import current_user

    # The proxy would look for another request after this one has ended.
    return current_user._get_current_object()  # noqa: SLF001


def session_id() -> str:
    """Return the current session's id, minting one if it has none yet.

    An id that is minted after the login is marked as late. After a restart of a browser
    that remembers the login, several pages may load at once and each receive a new id,
    but the cookie keeps only one. A logout with that id has to end the streams of the
    others too.
    """
    known = known_session_id()
    return known or renew_session_id(late=current_identity().user is not None)


def bearer_token() -> str | None:
    """Return the bearer token of the request, None if it has none."""
    # Werkzeug's parser would take a token with "=" in its middle for parameters.
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
