"""Session ids: minted at a login, replaced at the next login or logout.

Keeps the id in Flask's session, and tells which sessions a request has ended. Does not
know streams or Flask-Login.
"""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from flask import current_app, request, session

# Where the session's id is kept in Flask's session.
_SESSION_KEY = "_sse_hub_session"

# What an id begins with that was minted for a session in which somebody was logged in.
_LATE = "late:"


def known_session_id() -> str | None:
    """Return the id of the current session, None if it has none yet."""
    known: str | None = session.get(_SESSION_KEY)
    return known


def renew_session_id(*, late: bool = False) -> str:
    """Give the current session a new id, marked if it comes later than the login."""
    fresh = f"{_LATE if late else ''}{secrets.token_urlsafe(16)}"
    session[_SESSION_KEY] = fresh
    return fresh


def _is_late(session_id: str | None) -> bool:
    return session_id is not None and session_id.startswith(_LATE)


def forget_session_id() -> str | None:
    """Take the current session's id away and return it, None if it had none."""
    known: str | None = session.pop(_SESSION_KEY, None)
    return known


def brought() -> tuple[str | None, str | None]:
    """Return the session's id and user's id as the request's cookie brought them."""
    found = _brought_session()
    return found.get(_SESSION_KEY), user_in(found)


def user_in(session: Mapping[str, Any]) -> str | None:
    """Return the id of the user that Flask-Login keeps in a session, if any."""
    user_id = session.get("_user_id")
    return None if user_id is None else str(user_id)


def _brought_session() -> Mapping[str, Any]:
    """Return the session as the request's cookie brought it, before any change."""
    interface = current_app.session_interface
    found = interface.open_session(current_app, request)
    return found if found is not None else {}


def unnamed(user_id: str) -> str:
    """Return what stands for the session of a user whose session has no id.

    Its streams end with any logout of that user, since it cannot be told which session
    they belong to. The prefix keeps it apart from ids that are minted. A user's id can
    be too long for the name of an address, and a logout must not fail for it.
    """
    digest = hashlib.sha256(user_id.encode(errors="surrogatepass")).hexdigest()
    return f"unnamed:{digest}"


class EndedLogins(NamedTuple):
    """What a request has ended; None each where there is nothing to end."""

    #: The id of a session that was minted, and is never used again.
    minted: str | None = None
    #: What stands for a session that has no id.
    unnamed: str | None = None
    #: The user all of whose streams end: which of them are this session's cannot be
    #: told.
    user: str | None = None
    #: Whether nobody was logged in.
    anonymous: bool = False


def ended_by_login(user_id: str) -> EndedLogins:
    """Renew the session of a login; return what it replaces.

    That is nothing where somebody logs in once more.
    """
    minted_before, before = brought()
    if (
        before == user_id
        and known_session_id() is not None
        and minted_before in (None, known_session_id())
    ):
        return EndedLogins()
    # An app may have emptied the session before, so that it cannot be fixated.
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
    """Renew the session of a logout; return what ends."""
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
    """Return what has ended of a session whose login has gone without a logout.

    As after ``session.clear()``.
    """
    minted, user_id = brought()
    user_changed = user_id is not None and user_in(session) != user_id
    if minted is not None and known_session_id() == minted and user_changed:
        renew_session_id()
    if minted is not None and known_session_id() != minted:
        # Also where the same request has given the emptied session a new id.
        return EndedLogins(
            minted,
            user=user_id if _is_late(minted) else None,
            anonymous=user_id is None,
        )
    if minted is None and user_id is not None and user_changed:
        return EndedLogins(unnamed=unnamed(user_id))
    return EndedLogins()
