"""Who is connecting, from Flask-Login and the session, and which ids are theirs.

Knows requests, sessions and signatures; not streams. Flask-Login is only needed where a
login is required, so it is looked for, not imported.
"""

import base64
import hashlib
import secrets
from typing import Any

from flask import Flask, current_app, g, request, session
from itsdangerous import BadSignature, TimestampSigner
from werkzeug.exceptions import BadRequest, Unauthorized

from .client import Identity
from .errors import ConfigurationError

# Where the session's id is kept in Flask's session.
_SESSION_KEY = "_sse_hub_session"

# A page may be open for a working day and its stream still keep the page's client id.
_CLIENT_ID_SECONDS = 24 * 3600

_SALT = "flask-sse-hub.client-id"


def login_manager(app: Flask) -> Any | None:
    """Return the app's Flask-Login manager, if it has one."""
    return getattr(app, "login_manager", None)


def current_person(*, login_required: bool) -> tuple[Any, Identity]:
    """Load who makes this request, anew: the user object, or None, and its ids.

    Whoever was loaded earlier in this request may have been logged out since; the
    caller notes the log's head first, and control records after it do the rest. Raises
    Unauthorized, and ConfigurationError where a login is asked for and there is no
    Flask-Login.
    """
    manager = login_manager(current_app)
    if manager is None:
        if login_required:
            raise ConfigurationError(
                "SSE_HUB_LOGIN_REQUIRED needs Flask-Login, and this app has no"
                " LoginManager: pip install flask-login and call"
                " login_manager.init_app(app), or set SSE_HUB_LOGIN_REQUIRED = False to"
                " let anybody open a stream"
            )
        return None, Identity(session=known_session_id())
    g.pop("_login_user", None)
    from flask_login import current_user

    # The proxy would look for another request once this one is over.
    user = current_user._get_current_object()  # noqa: SLF001
    if not user.is_authenticated or not user.is_active:
        if login_required:
            raise Unauthorized("log in to open this stream")
        return user, Identity(session=known_session_id())
    user_id = str(user.get_id())
    named = known_session_id()
    if named is None and "_user_id" in session:
        named = unnamed(user_id)
    return user, Identity(user_id, named)


def unnamed(user_id: str) -> str:
    """Return what stands for the session of a user whose session has no id.

    Its streams end with any logout of that user, since it cannot be told which session
    they belong to. The prefix keeps it apart from ids that are minted.
    """
    return f"unnamed:{user_id}"


def known_session_id() -> str | None:
    """Return the id of the current session, None if it has none yet."""
    known: str | None = session.get(_SESSION_KEY)
    return known


def session_id() -> str:
    """Return the id of the current session, minting it where there is none yet."""
    return known_session_id() or renew_session_id()


def renew_session_id() -> str:
    """Give the current session a new id."""
    session[_SESSION_KEY] = fresh = secrets.token_urlsafe(16)
    return fresh


def forget_session_id() -> str | None:
    """Take the current session's id away and return it, None if it had none."""
    known: str | None = session.pop(_SESSION_KEY, None)
    return known


def mint_client_id(session_id: str | None) -> str:
    """Return a new client id, signed, and bound to a session.

    Raises ConfigurationError where the app has no secret key.
    """
    signer = _signer()
    if signer is None:
        raise ConfigurationError("a signed client id needs the app's SECRET_KEY")
    value = f"{secrets.token_urlsafe(9)}~{_binding(session_id)}"
    return signer.sign(value).decode()


def client_id_for(asked: str | None, session_id: str | None) -> str:
    """Return the client id that a request may have: the one it asks for, or a new one.

    A forged id is refused with BadRequest. One that has expired, or was minted for
    another session (before a login, say), is replaced.
    """
    signer = _signer()
    if signer is None:
        return secrets.token_urlsafe(9)
    if asked and not signer.validate(asked):
        raise BadRequest("this client_id was not made by this app")
    if asked and owns_client_id(asked, session_id):
        return asked
    return mint_client_id(session_id)


def owns_client_id(client_id: str, session_id: str | None) -> bool:
    """Tell whether a client id was minted for a session and has not expired."""
    signer = _signer()
    if signer is None:
        return False
    try:
        value = signer.unsign(client_id, max_age=_CLIENT_ID_SECONDS).decode()
    except BadSignature:
        return False
    return value.partition("~")[2] == _binding(session_id)


def _binding(session_id: str | None) -> str:
    digest = hashlib.sha256((session_id or "").encode()).digest()
    return base64.urlsafe_b64encode(digest[:9]).decode()


def _signer() -> TimestampSigner | None:
    if not current_app.secret_key:
        return None
    # The newest key comes last: it signs, and all of them verify.
    fallbacks = current_app.config.get("SECRET_KEY_FALLBACKS") or ()
    keys = [*fallbacks, current_app.secret_key]
    return TimestampSigner(keys, salt=_SALT)


def bearer_token() -> str | None:
    """Return the bearer token of the request, if it has one."""
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer":
        return None
    return authorization.token
