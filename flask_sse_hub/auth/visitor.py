"""The visitor: the user and the session behind a request, from Flask-Login.

Knows requests and sessions. Does not know streams. Flask-Login is only needed where a
login is required, so this module looks for it instead of importing it.
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


class Login(enum.Enum):
    """How it is known who somebody is."""

    #: By Flask's session, or the cookie of "remember me".
    SESSION = "session"
    #: By the request alone, as a bearer token that a ``request_loader`` knows.
    REQUEST = "request"
    #: By a ticket that the app has signed.
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for a stream: the user object and its ids.

    ``channels`` are those that a ticket opens; None for who has no ticket.
    """

    person: Any
    identity: Identity
    login: Login
    channels: tuple[str, ...] | None = None


def login_manager(app: Flask) -> Any | None:
    """Return the app's Flask-Login manager, if it has one."""
    return getattr(app, "login_manager", None)


def user_loader(app: Flask) -> Callable[[str], Any] | None:
    """Return the app's ``user_loader``, if it has registered one."""
    return getattr(login_manager(app), "_user_callback", None)


def nobody(app: Flask) -> Any:
    """Return the user object of who is not logged in, None without Flask-Login."""
    manager = login_manager(app)
    return None if manager is None else manager.anonymous_user()


def load_visitor(*, login_required: bool) -> Visitor:
    """Load who opens a stream, anew.

    Whoever was loaded earlier in this request may have been shut out since; the caller
    notes the log's head first, and control records after it do the rest. Raises
    Unauthorized, and ConfigurationError where a login is asked for and there is no
    Flask-Login.
    """
    if login_manager(current_app) is None:
        if login_required:
            raise ConfigurationError(
                "SSE_HUB_LOGIN_REQUIRED needs Flask-Login, and this app has no"
                " LoginManager: pip install flask-login and call"
                " login_manager.init_app(app), or set SSE_HUB_LOGIN_REQUIRED = False to"
                " let anybody open a stream"
            )
        return Visitor(None, Identity(session=known_session_id()), Login.SESSION)
    g.pop("_login_user", None)
    user = _current_user()
    if login_required and not is_logged_in(user):
        ask_for_login()
    # A stream sets no cookie: the browser never learns the id of a session that begins
    # in this very request, and its logout would name another one.
    session_id = known_session_id()
    brought_id, _ = brought()
    identity = _identity_of(user, session_id if session_id == brought_id else None)
    return Visitor(user, identity, _login_of(identity))


def _login_of(identity: Identity) -> Login:
    """Tell how the user of this request was found; nobody's is the session's."""
    if identity.user is None or user_in(session) == identity.user:
        return Login.SESSION
    return Login.REQUEST


def ask_for_login() -> NoReturn:
    """Refuse who is not logged in: as the app's own handler does, or with 401.

    Not with a redirect: a stream that became a login page would tell an EventSource
    nothing, and other clients that all is well.
    """
    manager = login_manager(current_app)
    if getattr(manager, "unauthorized_callback", None) is not None:
        try:
            response = make_response(manager.unauthorized())  # type: ignore[union-attr]
        except HTTPException as refusal:
            response = make_response(refusal.get_response())
        if not 300 <= response.status_code < 400:
            abort(response)
    raise Unauthorized("log in to open this stream")


def current_identity() -> Identity:
    """Return the ids of who makes this request: a page, or a view that publishes."""
    user = None if login_manager(current_app) is None else _current_user()
    return _identity_of(user, known_session_id())


def lasting_identity() -> Identity:
    """Return the ids of who makes this request, for what is to end with the session.

    The session of a login that was remembered has no id yet, and gets one.
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
    """Tell whether a user object is somebody, and not locked.

    What an app without Flask-Login takes for a user need not say either.
    """
    return user is not None and bool(
        getattr(user, "is_authenticated", True) and getattr(user, "is_active", True)
    )


def _current_user() -> Any:
    from flask_login import current_user

    # The proxy would look for another request once this one is over.
    return current_user._get_current_object()  # noqa: SLF001


def session_id() -> str:
    """Return the id of the current session, minting it where there is none yet.

    Where somebody is logged in already, as after a restart of a browser that remembers
    the login, each of several pages at once gets one, and one is kept: a logout that
    brings it has to end the streams of the others too.
    """
    known = known_session_id()
    return known or renew_session_id(late=current_identity().user is not None)


def bearer_token() -> str | None:
    """Return the bearer token of the request, if it has one."""
    # Not as Werkzeug reads it, for which a "=" in the middle makes parameters of it.
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
