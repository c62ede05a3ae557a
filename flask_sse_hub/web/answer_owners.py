"""The owner of an answer: the user or session of its request, or the given one.

Does not know how an answer runs or travels.
"""

from flask import has_request_context

from ..answers.lasting.records import Begun
from ..auth import visitor
from ..errors import InvalidTarget
from ..events import address
from ..events.address import HasId, Name, Unset
from ..hub.clients.client import Identity


def belongs_to(begun: Begun, identity: Identity) -> bool:
    """Tell whether an answer is that of a user, or of a session without a user."""
    if begun.user is not None:
        return identity.user == begun.user
    return identity.session is not None and identity.session == begun.session


def owner_of(user: Name | HasId | Unset | None, session: str | None) -> Identity:
    """Return the owner of a new answer, from the arguments of ``start()``.

    Raises InvalidTarget if there is none, and InvalidName for a bad id.
    """
    user_id = None if isinstance(user, Unset) else address.user_id_of(user)
    if user_id is not None:
        return Identity(address.checked_id(user_id, what="a user's id"))
    if session is not None:
        return Identity(session=address.checked_id(session, what="a session's id"))
    if not has_request_context():
        raise InvalidTarget(
            "outside a request start() cannot tell to whom the answer belongs: pass"
            " user= or session="
        )
    here = visitor.current_identity()
    if here.user is not None:
        return Identity(here.user)
    return Identity(session=visitor.session_id())
