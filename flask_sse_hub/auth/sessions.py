"""Session ids: minted at a login, replaced at the next login or logout.

Keeps the id in Flask's session, and tells which sessions a request has ended. Reads the
user id that Flask-Login keeps in the session, but does not need Flask-Login. Does not
know streams.
"""

import hashlib
import logging
import math
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from flask import current_app, request, session
from flask.globals import request_ctx
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadData, base64_decode
from itsdangerous.encoding import bytes_to_int

from ..hub.clients.client import Identity

log = logging.getLogger(__name__)

# The key of the session's id in Flask's session.
_SESSION_KEY = "_sse_hub_session"

# The prefix of a "late" id: one that was minted when the user was logged in already.
_LATE = "late:"

# The time of the login at the end of an id, in seconds since 1970.
_BEGAN = re.compile(r"\.([0-9]{1,12})\Z")

# The prefix of a placeholder for the id of a session that has none.
_UNNAMED = "unnamed:"


def known_session_id() -> str | None:
    """Return the current session's id, None if it has none yet."""
    known: str | None = session.get(_SESSION_KEY)
    return known


def renew_session_id(*, late: bool = False, began: float | None = None) -> str:
    """Give the current session a new id and return it.

    ``late`` marks an id that is minted later than the login. ``began`` is the time of
    the login, which the id carries.
    """
    fresh = f"{_LATE if late else ''}{secrets.token_urlsafe(16)}"
    if began is not None:
        fresh += f".{began:.0f}"
    session[_SESSION_KEY] = fresh
    return fresh


def began(session_id: str | None) -> float | None:
    """Return the time of the login that a session id carries, None if it has none.

    Cookies and tickets are signed, so nobody can change the time.
    """
    found = _BEGAN.search(session_id or "")
    return float(found[1]) if found else None


def _is_late(session_id: str | None) -> bool:
    return session_id is not None and session_id.startswith(_LATE)


def forget_session_id() -> str | None:
    """Remove the current session's id and return it, None if it had none."""
    known: str | None = session.pop(_SESSION_KEY, None)
    return known


class Brought(NamedTuple):
    """The session's id and the user's id that a request brought, each None if absent.

    They are noted at the beginning of the request. Some session interfaces hand out the
    stored object itself, so that later nothing tells how the session was before.
    """

    session_id: str | None = None
    user_id: str | None = None


def note_brought() -> None:
    """Note the ids that this request brought. Call it before any code of the app."""
    try:
        _note(_ids_in(_untouched_session()))
    except Exception:
        # A page that does not use its session must not fail because of the store.
        log.debug(
            "the session cannot be read at the request's beginning", exc_info=True
        )


def is_cleared() -> bool:
    """Tell whether the session lost ids that this request brought, without a logout.

    Does not count as an access to the session, after which Flask would add
    "Vary: Cookie" to every page of the app.
    """
    noted = _noted()
    return (
        noted is not None
        and _variable("ended") not in request.environ
        and noted != _ids_in(_untouched_session())
    )


def has_lost_its_user() -> bool:
    """Tell whether this request brought a user that its session no longer has."""
    return brought().user_id is not None and user_in(session) is None


def disown() -> None:
    """Treat this request as one that brought no session, and forget the session's id.

    For a session that was taken from the request because its cookie seems to be stolen.
    Nothing that the thief does may end the session of its owner.
    """
    _note(Brought())
    forget_session_id()


def brought() -> Brought:
    """Return the ids that this request brought, before any change."""
    noted = _noted()
    if noted is None:
        # This request is not served by the app: a test pushed its context.
        interface = current_app.session_interface
        found = interface.open_session(current_app, request)
        noted = Brought() if found is None else _ids_in(found)
        _note(noted)
    return noted


def valid_for(*, now: float) -> float:
    """Return for how many seconds the session that this request brought is valid.

    Infinity if the request brought none. ``now`` is the time of day. Each later
    response may prolong the session, which a stream that is open cannot see.
    """
    if brought() == Brought():
        return math.inf
    lifetime = current_app.permanent_session_lifetime.total_seconds()
    interface = current_app.session_interface
    if isinstance(interface, SecureCookieSessionInterface):
        cookie = request.cookies.get(interface.get_cookie_name(current_app), "")
        # Flask has verified the signature. The last but one part is its time.
        with suppress(BadData, ValueError, IndexError):
            signed_at = bytes_to_int(base64_decode(cookie.split(".")[-2]))
            # Flask accepts the cookie in its last second too.
            return max(signed_at + int(lifetime) + 1 - now, 0.0)
    # A store on the server counts from now at the latest.
    return lifetime


def goes_on(identity: Identity) -> bool:
    """Tell whether the session of this context still is an identity's.

    A session store on the server is asked again for it. The session of a login without
    an id of its own cannot be told.
    """
    minted = identity.session
    if minted is None or minted.startswith(_UNNAMED):
        return True
    return known_session_id() == minted and user_in(session) == identity.user


def _note(ids: Brought) -> None:
    request.environ[_variable("brought")] = ids


def _noted() -> Brought | None:
    found: Brought | None = request.environ.get(_variable("brought"))
    return found


def _variable(name: str) -> str:
    # An app may call another one with the environ of its own request.
    return f"flask_sse_hub.{name}.{id(current_app._get_current_object())}"  # type: ignore[attr-defined]  # noqa: SLF001


def _untouched_session() -> Any:
    """Return the session's object. Flask notes each access to ``flask.session``.

    Flask 3.1.3 has no public way to ask without an access.
    """
    found = getattr(request_ctx, "_session", None)
    return request_ctx.session if found is None else found


def _ids_in(session: Mapping[str, Any]) -> Brought:
    accessed = getattr(session, "accessed", None)
    ids = Brought(session.get(_SESSION_KEY), user_in(session))
    if accessed is False and session.accessed:  # type: ignore[attr-defined]
        # Before Flask 3.1.3 the session itself notes that it was read.
        session.accessed = False  # type: ignore[attr-defined]
    return ids


def user_in(session: Mapping[str, Any]) -> str | None:
    """Return the user id that Flask-Login keeps in a session, None if there is none."""
    user_id = session.get("_user_id")
    return None if user_id is None else str(user_id)


def unnamed(user_id: str) -> str:
    """Return a placeholder id for a session of this user that has no id.

    All such sessions of a user share the placeholder, so their streams end with any of
    the user's logouts. The prefix cannot occur in minted ids. The user's id is hashed
    because it may be too long for the name of an address, and a logout must not fail
    because of that.
    """
    digest = hashlib.sha256(user_id.encode(errors="surrogatepass")).hexdigest()
    return f"{_UNNAMED}{digest}"


class EndedLogins(NamedTuple):
    """The sessions that a request has ended; None means that there is none to end."""

    #: The minted id of the session. It is never used again.
    minted: str | None = None
    #: The placeholder of a session that has no id.
    unnamed: str | None = None
    #: The user whose streams all end, because the session's own streams cannot be told
    #: from the user's other streams.
    user: str | None = None
    #: Whether the ended session was anonymous.
    anonymous: bool = False


def ended_by_login(user_id: str, *, now: float) -> EndedLogins:
    """Renew the session at a login, and return the sessions that the login ends.

    A repeated login of the same user in the same session ends nothing and keeps the
    session's id. ``now`` is the time of day.
    """
    minted_before, before = brought()
    if (
        before == user_id
        and known_session_id() is not None
        and minted_before in (None, known_session_id())
    ):
        return EndedLogins()
    request.environ[_variable("ended")] = True
    # The app may have emptied the session already, against session fixation, and have
    # given it a new id. The id that the request brought tells which session ends.
    forgotten = forget_session_id()
    minted = minted_before or forgotten
    renew_session_id(began=now)
    if before is None:
        return EndedLogins(minted, anonymous=True)
    return EndedLogins(
        minted,
        None if minted else unnamed(before),
        before if _is_late(minted) else None,
    )


def ended_by_logout(user_id: str | None) -> EndedLogins:
    """Renew the session at a logout, and return the sessions that the logout ends."""
    minted_before, before = brought()
    request.environ[_variable("ended")] = True
    user_id = before if user_id is None else user_id
    forgotten = forget_session_id()
    minted = minted_before or forgotten
    renew_session_id()
    if user_id is None:
        return EndedLogins(minted, anonymous=True)
    return EndedLogins(
        minted,
        unnamed(user_id),
        user_id if minted is None or _is_late(minted) else None,
    )


def ended_by_clearing(*, now: float) -> EndedLogins:
    """Return the sessions that ended because a login vanished without a logout.

    That is so after ``session.clear()``, for example.
    """
    minted, user_id = brought()
    user_changed = user_id is not None and user_in(session) != user_id
    if minted is not None and known_session_id() == minted and user_changed:
        renew_session_id(began=now)
    if minted is not None and known_session_id() != minted:
        # The id also differs if this request has given the emptied session a new one.
        return EndedLogins(
            minted,
            user=user_id if _is_late(minted) else None,
            anonymous=user_id is None,
        )
    if minted is None and user_id is not None and user_changed:
        return EndedLogins(unnamed=unnamed(user_id))
    return EndedLogins()
