"""The users: two people and an admin, in memory.

A real app has a table of users, and password hashes instead of one shared password.
"""

import hmac

from flask_login import UserMixin, current_user

from .extensions import login_manager, sse_hub

#: The login page shows it: there is nothing here to protect.
DEMO_PASSWORD = "demo"  # noqa: S105


class User(UserMixin):  # type: ignore[misc]
    """An account of the demo. Pass the ``id`` to ``publish(user=...)``."""

    def __init__(self, name: str, *, is_admin: bool = False) -> None:
        self.id = name
        self.is_admin = is_admin

    @property
    def initials(self) -> str:
        """The letter of an avatar."""
        return self.id[:1].upper()


USERS = {
    user.id: user for user in (User("alice"), User("bob"), User("admin", is_admin=True))
}


def load_user(user_id: str) -> User | None:
    """Return the user of a session. Flask-Login calls it for each request."""
    return USERS.get(user_id)


def user_with(name: str, password: str) -> User | None:
    """Return the user with this name and password, or None."""
    # compare_digest takes as long for a wrong password as for the right one.
    fits = hmac.compare_digest(password.encode(), DEMO_PASSWORD.encode())
    return USERS.get(name) if fits else None


def require_login() -> None:
    """Refuse a request without a login.

    Register it as ``before_request`` of a whole blueprint. A view that is added later
    is then closed too, while a decorator on each view could be forgotten.
    """
    if not current_user.is_authenticated:
        login_manager.unauthorized()


def current_user_is_admin() -> bool:
    """Tell whether the user of this request is an admin. Admins may do everything."""
    return current_user.is_authenticated and bool(current_user.is_admin)


def owns_client(client_id: str) -> bool:
    """Tell whether the user of this request may act on a client.

    The page sends the id, so a user could send any id. The hub has signed each id for
    the session that it was made for, and checks the signature.
    """
    return current_user_is_admin() or sse_hub.owns_client(client_id)
