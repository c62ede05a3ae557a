"""Access: whether a visitor may listen to a channel, at the start and later.

The same rules are applied when a stream opens and again while it is open. Knows
Flask-Login's loaders, tickets and the app's own rules. Does not know how streams are
delivered.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

from flask import Flask, has_request_context
from werkzeug.exceptions import BadRequest, Forbidden, Gone, NotFound, Unauthorized

from ..errors import InvalidTarget
from ..events import address
from ..events.address import Address, Name, Unset
from ..hub.clients.client import Client, Identity, Metadata
from . import client_ids
from .tickets import Ticket
from .visitor import (
    Login,
    Visitor,
    ask_for_login,
    is_logged_in,
    lasting_identity,
    load_visitor,
    login_manager,
    nobody,
    refuse_strangers,
    user_loader,
)

#: ``f(user, channel) -> bool``. The user is None in an app without Flask-Login.
Authorizer = Callable[[Any, str], bool]

# Errors by which a loader or a rule says no, as abort(403) and get_or_404() do. Any
# other error means that the question has no answer for now.
_REFUSALS = (Unauthorized, Forbidden, NotFound, Gone)

#: ``f() -> dict``. Called in the request that opens a stream.
Describer = Callable[[], Metadata]

#: ``f(user_id) -> user``. Returns None if the user no longer exists.
Reloader = Callable[[str], Any]


@dataclass(slots=True)
class Rules:
    """The functions that the app registered with the decorators of ``SSEHub``."""

    authorize: Authorizer | None = None
    describe: Describer | None = None
    reload: Reloader | None = None


class Grant(NamedTuple):
    """The facts for checking an open stream again: its login and its channel rule."""

    login: Login
    rule: Authorizer | None


class Access:
    """The rules of one app for its streams.

    ``is_public(channel)`` tells whether every admitted visitor may ask for a channel.
    """

    def __init__(
        self,
        app: Flask,
        rules: Rules,
        *,
        login_required: bool,
        is_public: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._rules = rules
        self._login_required = login_required
        self._is_public = is_public
        # Nearly every stream uses one of these grants. Sharing them saves memory.
        self._grants: dict[tuple[Login, Authorizer | None], Grant] = {
            (login, rule): Grant(login, rule)
            for login in Login
            for rule in (None, self.is_open)
        }

    def is_open(self, person: Any, channel: str) -> bool:
        """Tell whether the settings or the app's rule open a channel to this user."""
        if self._is_public(channel):
            return True
        authorizer = self._rules.authorize
        return authorizer is not None and bool(authorizer(person, channel))

    def arrive(self) -> Callable[[], Visitor]:
        """Refuse a stranger, and return the function that loads this request's visitor.

        Both raise Unauthorized and ConfigurationError. The caller notes the log's head
        between them, which a stranger must not be able to cause.
        """
        if self._login_required:
            refuse_strangers()
        return partial(load_visitor, login_required=self._login_required)

    def identity_for(self, user: Name | Unset) -> Identity:
        """Return the identity for a new ticket: the given user's, or this request's.

        A ticket for the requesting user belongs to the session and ends with it. A
        ticket for another user belongs to no session. Raises Unauthorized,
        InvalidTarget and InvalidName.
        """
        here = lasting_identity() if has_request_context() else Identity()
        if isinstance(user, Unset):
            if here.user is None and self._login_required:
                if has_request_context():
                    ask_for_login()
                raise InvalidTarget(
                    "outside a request ticket() cannot tell the user: pass user="
                )
            return here
        user_id = address.checked_id(user, what="a user's id")
        return here if here.user == user_id else Identity(user_id)

    def arrive_with(
        self, text: str, has_ended: Callable[[Address], bool], *, now: float
    ) -> Callable[[], Visitor]:
        """Check a ticket's signature, and return the function that loads its visitor.

        ``has_ended`` tells whether an address belongs to a session that has ended.

        Raises Unauthorized if the ticket is forged or has expired. The function raises
        it if the ticket's session has ended, or if its user no longer exists.
        """
        ticket = Ticket.read(text, now=now)
        if ticket is None:
            raise Unauthorized("this ticket is invalid or has expired: get a new one")
        return partial(self._holder, ticket, has_ended)

    def _holder(self, ticket: Ticket, has_ended: Callable[[Address], bool]) -> Visitor:
        """Return the visitor that a ticket names. Raises Unauthorized."""
        session, user_id = ticket.identity.session, ticket.identity.user
        if session is not None and has_ended(address.session(session)):
            raise Unauthorized("this ticket's session has ended: log in again")
        load = self._loader(Login.TICKET)
        person = nobody(self._app)
        if user_id is not None and load is not None:
            person = load(user_id)
            if not is_logged_in(person):
                raise Unauthorized("this ticket's user is deleted or locked")
        return Visitor(person, ticket.identity, Login.TICKET, ticket.channels)

    def check(
        self, visitor: Visitor, channels: Sequence[str], rule: Authorizer | None
    ) -> None:
        """Raise Forbidden if one of the channels is not open to the visitor."""
        for name in channels:
            if visitor.channels is not None:
                is_open = name in visitor.channels or self._is_public(name)
            else:
                is_open = rule is None or rule(visitor.person, name)
            if not is_open:
                raise Forbidden(f"the channel {name!r:.60} is not open to you")

    def client_id(self, asked: str | None, identity: Identity) -> str:
        """Return the client id for a stream: the requested one, or a new one.

        A requested id is replaced if it has expired or was minted for another identity,
        for example before a login. Raises BadRequest if the id is forged.
        """
        if not self._app.secret_key:
            return secrets.token_urlsafe(9)
        if asked and not client_ids.is_client_id(asked):
            raise BadRequest(
                "this client_id was not signed by this app: use one from client_id()"
            )
        if asked and client_ids.owns_client_id(asked, identity):
            return asked
        return client_ids.mint_client_id(identity)

    def can_reload(self, visitor: Visitor) -> bool:
        """Tell whether the user can be loaded again after the request has ended.

        Also True where nothing has to be loaded: for an anonymous visitor, and in an
        app without Flask-Login.
        """
        return (
            visitor.identity.user is None
            or login_manager(self._app) is None
            or self._loader(visitor.login) is not None
        )

    def grant(
        self, visitor: Visitor, channels: Sequence[str], rule: Authorizer | None
    ) -> Grant | None:
        """Return the grant for checking an open stream, None if nothing is checked."""
        if visitor.channels is not None:
            # The app decided about these channels when it signed the ticket.
            rule = None
        elif rule == self.is_open and all(map(self._is_public, channels)):
            rule = None
        if visitor.identity.user is None:
            asks = rule is not None
        else:
            asks = self._loader(visitor.login) is not None
        if not asks:
            return None
        if rule is None or rule == self.is_open:
            return self._grants[visitor.login, rule]
        return Grant(visitor.login, rule)

    def lost(self, clients: Sequence[Client]) -> Iterator[Client]:
        """Yield those of one user's clients that may no longer listen.

        The user is loaded once for each kind of login, in an app context that lasts
        until the iteration ends. An error from a rule is raised after all clients have
        been checked. Otherwise a user could open one stream whose rule fails and keep
        all others open by it.
        """
        people: dict[Login, Any] = {}
        trouble: Exception | None = None
        with self._app.app_context():
            for client in clients:
                login, rule = cast("Grant", client.grant)
                if login not in people:
                    people[login] = self._load_again(login, client.identity.user)
                try:
                    may_listen = _still_may(client, people[login], rule)
                except Exception as error:  # noqa: BLE001 - raised below
                    trouble = error
                else:
                    if not may_listen:
                        yield client
        if trouble is not None:
            raise trouble

    def _load_again(self, login: Login, user_id: str | None) -> Any:
        load = self._loader(login)
        if user_id is None or load is None:
            return nobody(self._app)
        try:
            return load(user_id)
        except _REFUSALS:
            return None

    def _loader(self, login: Login) -> Reloader | None:
        """Return the function that loads a user by its id, None if there is none."""
        if login is Login.REQUEST:
            # A bearer token may be revoked while its user stays active. Flask-Login's
            # user_loader cannot tell; only the app's own reloader can.
            return self._rules.reload
        return user_loader(self._app) or self._rules.reload


def _still_may(client: Client, person: Any, rule: Authorizer | None) -> bool:
    if client.identity.user is not None and not is_logged_in(person):
        return False
    try:
        return rule is None or all(rule(person, name) for name in client.channels)
    except _REFUSALS:
        return False
