"""Access: who may listen to what, when a stream opens and while it is open.

Knows Flask-Login's loaders, tickets and the app's own rules; not streams.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    user_loader,
)

#: ``f(user, channel) -> bool``; the user is None in an app without Flask-Login.
Authorizer = Callable[[Any, str], bool]

# What a loader or a rule may say no with, as abort(403) and get_or_404() do: in a
# request it would be the answer. Anything else says that there is none.
_REFUSALS = (Unauthorized, Forbidden, NotFound, Gone)

#: ``f() -> dict``, called in the request that opens a stream.
Describer = Callable[[], Metadata]

#: ``f(user_id) -> user``, None if there is no such user any more.
Reloader = Callable[[str], Any]


@dataclass(slots=True)
class Rules:
    """What the app's developer registered with decorators."""

    authorize: Authorizer | None = None
    describe: Describer | None = None
    reload: Reloader | None = None


class Grant(NamedTuple):
    """What an open stream is judged by again: how to load its user, and its rule."""

    login: Login
    rule: Authorizer | None


class Access:
    """The rules of one app for its streams.

    ``is_public`` tells of a channel whether every admitted visitor may ask for it.
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
        # Nearly all streams have one of these, and very many share it.
        self._grants: dict[tuple[Login, Authorizer | None], Grant] = {
            (login, rule): Grant(login, rule)
            for login in Login
            for rule in (None, self.is_open)
        }

    def is_open(self, person: Any, channel: str) -> bool:
        """Tell whether a channel can be asked for, by the configuration or the rule."""
        if self._is_public(channel):
            return True
        authorizer = self._rules.authorize
        return authorizer is not None and bool(authorizer(person, channel))

    def visitor(self) -> Visitor:
        """Return who makes this request. Raises Unauthorized and ConfigurationError."""
        return load_visitor(login_required=self._login_required)

    def identity_for(self, user: Name | Unset) -> Identity:
        """Return whom a ticket is for: a user, or who makes this request.

        Only a ticket of one's own belongs to the session, and ends with it. Raises
        Unauthorized, InvalidTarget and InvalidName.
        """
        here = lasting_identity() if has_request_context() else Identity()
        if isinstance(user, Unset):
            if here.user is None and self._login_required:
                if has_request_context():
                    ask_for_login()
                raise InvalidTarget("outside a request a ticket needs a user")
            return here
        user_id = address.checked_id(user, what="a user's id")
        return here if here.user == user_id else Identity(user_id)

    def holder(
        self, text: str, has_ended: Callable[[Address], bool], *, now: float
    ) -> Visitor:
        """Return the visitor that a ticket names.

        ``has_ended`` tells whether an address is that of an ended session.

        Raises Unauthorized if it is forged or has expired, its session has ended, or
        its user is gone.
        """
        ticket = Ticket.read(text, now=now)
        if ticket is None:
            raise Unauthorized("this ticket is not good, or no longer")
        session, user_id = ticket.identity.session, ticket.identity.user
        if session is not None and has_ended(address.session(session)):
            raise Unauthorized("the session of this ticket has ended")
        load = self._loader(Login.TICKET)
        person = nobody(self._app)
        if user_id is not None and load is not None:
            person = load(user_id)
            if not is_logged_in(person):
                raise Unauthorized("the user of this ticket is gone")
        return Visitor(person, ticket.identity, Login.TICKET, ticket.channels)

    def check(
        self, visitor: Visitor, channels: Sequence[str], rule: Authorizer | None
    ) -> None:
        """Raise Forbidden if a channel is not open to who asks for it."""
        for name in channels:
            if visitor.channels is not None:
                is_open = name in visitor.channels or self._is_public(name)
            else:
                is_open = rule is None or rule(visitor.person, name)
            if not is_open:
                raise Forbidden(f"the channel {name!r:.60} is not open to you")

    def client_id(self, asked: str | None, identity: Identity) -> str:
        """Return the client id that a stream may have: the one asked for, or a new one.

        A forged id is refused with BadRequest. One that has expired, or was minted for
        somebody else (before a login, say), is replaced.
        """
        if not self._app.secret_key:
            return secrets.token_urlsafe(9)
        if asked and not client_ids.is_client_id(asked):
            raise BadRequest("this client_id was not made by this app")
        if asked and client_ids.owns_client_id(asked, identity):
            return asked
        return client_ids.mint_client_id(identity)

    def can_reload(self, visitor: Visitor) -> bool:
        """Tell whether the user can be loaded again when its request is over.

        Nobody in particular, and users in an app without Flask-Login, need not be.
        """
        return (
            visitor.identity.user is None
            or login_manager(self._app) is None
            or self._loader(visitor.login) is not None
        )

    def grant(
        self, visitor: Visitor, channels: Sequence[str], rule: Authorizer | None
    ) -> Grant | None:
        """Return what the stream is judged by while it is open, None if by nothing."""
        if visitor.channels is not None:
            # A ticket's channels are those of who has signed it.
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
        """Yield which of a user's streams the user may no longer listen to.

        The user is loaded once, in an app context that ends with the last of them. What
        a rule raises is raised when all were asked about: whoever opens one stream
        whose rule fails shall not keep the others for it.
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
        """Return what loads a user by its id alone."""
        if login is Login.REQUEST:
            # A bearer token may have been taken back while its user is as welcome as
            # ever: only the app can tell.
            return self._rules.reload
        return user_loader(self._app) or self._rules.reload


def _still_may(client: Client, person: Any, rule: Authorizer | None) -> bool:
    if client.identity.user is not None and not is_logged_in(person):
        return False
    try:
        return rule is None or all(rule(person, name) for name in client.channels)
    except _REFUSALS:
        return False
