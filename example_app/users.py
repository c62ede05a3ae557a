"""Who there is: two people and an admin, in memory.

A real app has a table here, and hashes in place of a password that all share.
"""

import hmac

from flask_login import UserMixin, current_user

from .extensions import login_manager, sse_hub

#: It is shown on the login page: there is nothing here to protect.
DEMO_PASSWORD = "demo"  # noqa: S105


class User(UserMixin):  # type: ignore[misc]
    """A person who can sign in. ``id`` is what ``publish(user=...)`` is given."""

    def __init__(self, name: str, *, is_admin: bool = False) -> None:
        self.id = name
        self.is_admin = is_admin


USERS = {
    user.id: user for user in (User("alice"), User("bob"), User("admin", is_admin=True))
}


def load_user(user_id: str) -> User | None:
    """Return the user of a session. Flask-Login asks at each request."""
    return USERS.get(user_id)


def user_with(name: str, password: str) -> User | None:
    """Return the user who has this name and password, None if nobody does."""
    # compare_digest takes as long for a wrong password as for the right one.
    fits = hmac.compare_digest(password.encode(), DEMO_PASSWORD.encode())
    return USERS.get(name) if fits else None


def require_login() -> None:
    """Refuse whoever is not signed in.

    To be a ``before_request`` of a whole blueprint: a view that is added later is then
    closed, where a decorator on each view could be forgotten.
    """
    if not current_user.is_authenticated:
        login_manager.unauthorized()


def current_user_is_admin() -> bool:
    """Tell whether the user of this request may see and do everything."""
    return current_user.is_authenticated and bool(current_user.is_admin)


def owns_client(client_id: str) -> bool:
    """Tell whether the user of this request may act on a client.

    An id comes from the page, so anybody can send any; the hub has signed each one for
    the session that it was made for.
    """
    return current_user_is_admin() or sse_hub.owns_client(client_id)
