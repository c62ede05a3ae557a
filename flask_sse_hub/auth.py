"""Who is connecting, from Flask-Login and the session, and which ids are theirs.

Knows requests, sessions and signatures; not streams. Flask-Login is only needed where a
login is required, so it is looked for, not imported.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
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
    """Load who opens a stream, anew: the user object, or None, and its ids.

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
        return None, Identity(session=known_session_id())
    g.pop("_login_user", None)
    user = _current_user()
    if login_required and not _is_logged_in(user):
        raise Unauthorized("log in to open this stream")
    # A stream sets no cookie: the browser never learns the id of a session that begins
    # in this very request, and its logout would name another one.
    session_id = known_session_id()
    brought = _brought_session().get(_SESSION_KEY)
    return user, _identity_of(user, session_id if session_id == brought else None)


def current_identity() -> Identity:
    """Return the ids of who makes this request: a page, or a view that publishes."""
    user = None if login_manager(current_app) is None else _current_user()
    return _identity_of(user, known_session_id())


def _identity_of(user: Any, session_id: str | None) -> Identity:
    if not _is_logged_in(user):
        return Identity(session=session_id)
    user_id = str(user.get_id())
    if session_id is None and "_user_id" in session:
        session_id = unnamed(user_id)
    return Identity(user_id, session_id)


def _is_logged_in(user: Any) -> bool:
    return user is not None and bool(user.is_authenticated and user.is_active)


def _current_user() -> Any:
    from flask_login import current_user

    # The proxy would look for another request once this one is over.
    return current_user._get_current_object()  # noqa: SLF001


def _brought_session() -> Mapping[str, Any]:
    """Return the session as the request's cookie brought it, before any change."""
    interface = current_app.session_interface
    found = interface.open_session(current_app, request)
    return found if found is not None else {}


def unnamed(user_id: str) -> str:
    """Return what stands for the session of a user whose session has no id.

    Its streams end with any logout of that user, since it cannot be told which session
    they belong to. The prefix keeps it apart from ids that are minted.
    """
    return f"unnamed:{user_id}"


def ended_by_login(user_id: str) -> tuple[str | None, str | None]:
    """Renew the session of a login; return the ids of the session that it replaces.

    The first is an id that was minted, the second what stands for one that was not.
    None each where there is nothing to end, as when somebody logs in once more.
    """
    brought = _brought_session()
    before = brought.get("_user_id")
    if before == user_id and known_session_id() is not None:
        return None, None
    minted = forget_session_id()
    renew_session_id()
    return minted, None if before is None or minted else unnamed(before)


def ended_by_logout(user_id: str | None) -> tuple[str | None, str | None]:
    """Renew the session of a logout; return the ids of the session that ends."""
    minted = forget_session_id()
    renew_session_id()
    return minted, None if user_id is None else unnamed(user_id)


def ended_by_clearing() -> tuple[str | None, str | None]:
    """Return the ids of a session whose login has gone without a logout.

    As after ``session.clear()``. None each where nothing has gone.
    """
    brought = _brought_session()
    minted, user_id = brought.get(_SESSION_KEY), brought.get("_user_id")
    if minted is not None and known_session_id() not in (None, minted):
        # A login or a logout has renewed it, and ended the streams.
        return None, None
    if minted is not None and known_session_id() is None:
        return minted, None
    if user_id is None or session.get("_user_id") == user_id:
        return None, None
    if minted is not None:
        renew_session_id()
        return minted, None
    return None, unnamed(user_id)


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


def mint_client_id(identity: Identity) -> str:
    """Return a new client id, signed, and bound to who asks for it.

    Raises ConfigurationError where the app has no secret key.
    """
    signer = _signer()
    if signer is None:
        raise ConfigurationError("a signed client id needs the app's SECRET_KEY")
    value = f"{secrets.token_urlsafe(9)}~{_binding(identity)}"
    return signer.sign(value).decode()


def client_id_for(asked: str | None, identity: Identity) -> str:
    """Return the client id that a stream may have: the one it asks for, or a new one.

    A forged id is refused with BadRequest. One that has expired, or was minted for
    somebody else (before a login, say), is replaced.
    """
    signer = _signer()
    if signer is None:
        return secrets.token_urlsafe(9)
    if asked and not signer.validate(asked):
        raise BadRequest("this client_id was not made by this app")
    if asked and owns_client_id(asked, identity):
        return asked
    return mint_client_id(identity)


def owns_client_id(client_id: str, identity: Identity) -> bool:
    """Tell whether a client id was minted for this user and session, not long ago.

    Nobody in particular, with neither of them, owns none: it would be everybody's.
    """
    signer = _signer()
    if signer is None or identity == Identity():
        return False
    try:
        value = signer.unsign(client_id, max_age=_CLIENT_ID_SECONDS).decode()
    except BadSignature:
        return False
    return value.partition("~")[2] == _binding(identity)


def _binding(identity: Identity) -> str:
    digest = hashlib.sha256(repr((identity.user, identity.session)).encode()).digest()
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
