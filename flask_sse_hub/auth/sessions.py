"""Session ids: minted at a login, replaced at the next login or logout.

Keeps the id in Flask's session, and tells which sessions a request has ended. Reads the
user id that Flask-Login keeps in the session, but does not need Flask-Login. Does not
know streams.
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import current_app, request, session

# The key of the session's id in Flask's session.
_SESSION_KEY = "_sse_hub_session"

# The prefix of a "late" id: one that was minted when the user was logged in already.
_LATE = "late:"


def known_session_id() -> str | None:
    """Return the current session's id, None if it has none yet."""
    known: str | None = session.get(_SESSION_KEY)
    return known


def renew_session_id(*, late: bool = False) -> str:
    """Give the current session a new id and return it.

    ``late`` marks an id that is minted later than the login.
    """
    fresh = f"{_LATE if late else ''}{secrets.token_urlsafe(16)}"
    session[_SESSION_KEY] = fresh
    return fresh


def _is_late(session_id: str | None) -> bool:
    return session_id is not None and session_id.startswith(_LATE)


def forget_session_id() -> str | None:
    """Remove the current session's id and return it, None if it had none."""
    known: str | None = session.pop(_SESSION_KEY, None)
    return known


def brought() -> tuple[str | None, str | None]:
    """Return the session's id and the user's id from the request's cookie."""
    found = _brought_session()
    return found.get(_SESSION_KEY), user_in(found)


def user_in(session: Mapping[str, Any]) -> str | None:
    """Return the user id that Flask-Login keeps in a session, None if there is none."""
    user_id = session.get("_user_id")
    return None if user_id is None else str(user_id)


def _brought_session() -> Mapping[str, Any]:
    """Return the session as the request's cookie contained it, before any change."""
    interface = current_app.session_interface
    found = interface.open_session(current_app, request)
    return found if found is not None else {}


def unnamed(user_id: str) -> str:
    """Return a placeholder id for a session of this user that has no id.

    All such sessions of a user share the placeholder, so their streams end with any of
    the user's logouts. The prefix cannot occur in minted ids. The user's id is hashed
    because it may be too long for the name of an address, and a logout must not fail
    because of that.
    """
    digest = hashlib.sha256(user_id.encode(errors="surrogatepass")).hexdigest()
    return f"unnamed:{digest}"


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


def ended_by_login(user_id: str) -> EndedLogins:
    """Renew the session at a login, and return the sessions that the login ends.

    A repeated login of the same user in the same session ends nothing and keeps the
    session's id.
    """
    minted_before, before = brought()
    if (
        before == user_id
        and known_session_id() is not None
        and minted_before in (None, known_session_id())
    ):
        return EndedLogins()
    # The app may have emptied the session already, against session fixation. The id in
    # the cookie then tells which session ends.
    minted = forget_session_id() or minted_before
    renew_session_id()
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
    user_id = before if user_id is None else user_id
    minted = forget_session_id() or minted_before
    renew_session_id()
    if user_id is None:
        return EndedLogins(minted, anonymous=True)
    return EndedLogins(
        minted,
        unnamed(user_id),
        user_id if minted is None or _is_late(minted) else None,
    )


def ended_by_clearing() -> EndedLogins:
    """Return the sessions that ended because a login vanished without a logout.

    That is so after ``session.clear()``, for example.
    """
    minted, user_id = brought()
    user_changed = user_id is not None and user_in(session) != user_id
    if minted is not None and known_session_id() == minted and user_changed:
        renew_session_id()
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
