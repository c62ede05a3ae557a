"""Access: whether a visitor may listen to a channel, at the start and later.

The same rules are applied when a stream opens and again while it is open. Knows
Flask-Login's loaders, tickets and the app's own rules. Does not know how streams are
delivered.
"""

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

from flask import Flask, g, has_request_context, request
from werkzeug.exceptions import BadRequest, Forbidden, Gone, NotFound, Unauthorized

from ..errors import InvalidTarget
from ..events import address
from ..events.address import Address, HasId, Name, Unset
from ..events.channel_patterns import covers
from ..hub.clients.client import Client, Identity
from ..runtime.coded_log import CodedLog
from . import client_ids, sessions
from .opening_request import OpeningRequest, OpeningRequests
from .rules import Authorizer, Reloader, Rules, allows
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

log = CodedLog(__name__)

# Errors by which a loader or a rule says no, as abort(403) and get_or_404() do. Any
# other error means that the question has no answer for now.
_REFUSALS = (Unauthorized, Forbidden, NotFound, Gone)


class Grant(NamedTuple):
    """The facts for checking an open stream again.

    They are its login, its channel rule and the two parts of its opening request.
    """

    login: Login
    rule: Authorizer | None
    # A stream would need 64 bytes more for a tuple of its own with these two.
    common: str
    own: str


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
        self._requests = OpeningRequests()
        # For each kind of login whose users were loaded again once: whether that works.
        self._works: dict[Login, bool] = {}

    def is_open(self, person: Any, channel: str) -> bool:
        """Tell whether the settings or the app's rule open a channel to this user."""
        if self._is_public(channel):
            return True
        authorizer = self._rules.authorize
        return authorizer is not None and allows(authorizer, person, channel)

    def is_open_to(self, user_id: str, channel: str) -> bool:
        """Tell whether a channel is open to a user now, outside of their requests.

        Loaders and rules may raise anything: they find a request without cookies.
        """
        with self._app.test_request_context():
            person = self._load_again(Login.SESSION, user_id)
            if login_manager(self._app) is not None:
                # A rule may read Flask-Login's current_user.
                g._login_user = person  # noqa: SLF001
                if not is_logged_in(person):
                    return False
            return self.is_open(person, channel)

    def arrive(self) -> Callable[[], Visitor]:
        """Refuse a stranger, and return the function that loads this request's visitor.

        Both raise Unauthorized and ConfigurationError. The caller notes the log's head
        between them, which a stranger must not be able to cause.
        """
        if self._login_required:
            refuse_strangers()
        return partial(load_visitor, login_required=self._login_required)

    def identity_for(self, user: Name | HasId | Unset) -> Identity:
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
        user_id = address.checked_id(address.user_id_of(user), what="a user's id")
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
                named = any(covers(each, name) for each in visitor.channels)
                is_open = named or self._is_public(name)
            else:
                is_open = rule is None or allows(rule, visitor.person, name)
            if not is_open:
                remedy = self._remedy(visitor) if self._app.debug else ""
                raise Forbidden(f"the channel {name!r:.60} is not open to you{remedy}")

    def _remedy(self, visitor: Visitor) -> str:
        """Return how a developer opens a channel that was refused to a visitor."""
        if visitor.channels is not None:
            return ": name it in ticket(channels=...), or in SSE_HUB_PUBLIC_CHANNELS"
        if self._rules.authorize is not None:
            return (
                ": the function of @sse_hub.authorize_channel returned false; change"
                " it, or open the channel with SSE_HUB_PUBLIC_CHANNELS"
            )
        return ": open it with SSE_HUB_PUBLIC_CHANNELS or @sse_hub.authorize_channel"

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

    def valid_for(self, visitor: Visitor, *, now: float) -> float:
        """Return for how many seconds the visitor's session is certainly valid.

        Infinity if the visitor is not known by a session.
        """
        if visitor.login is not Login.SESSION:
            return math.inf
        return sessions.valid_for(now=now)

    def can_reload(self, visitor: Visitor) -> bool:
        """Tell whether the user can be loaded again after the request has ended.

        Also True where nothing has to be loaded: for an anonymous visitor, and in an
        app without Flask-Login.

        The first call for each kind of login tries it. A loader that needs more than
        the opening request has, such as its body, fails each time. That must be told at
        the first stream.
        """
        user_id, login = visitor.identity.user, visitor.login
        if user_id is None or login_manager(self._app) is None:
            return True
        if self._loader(login) is None:
            return False
        if login not in self._works:
            # Streams that open during the try do not wait for it.
            self._works[login] = True
            self._works[login] = self._is_loadable(login, user_id)
        return self._works[login]

    def _is_loadable(self, login: Login, user_id: str) -> bool:
        opening = self._requests.keep(request.environ)
        try:
            # The visitor was loaded a moment ago. A context of its own keeps the
            # results of the loader out of this request.
            with self._app.app_context(), _request_again(self._app, opening):
                self._load_again(login, user_id)
        except Exception:
            log.exception(
                "SSE-1401",
                "a user cannot be loaded again while a stream is open: the loader"
                " failed with the headers and cookies of the stream's request. Such"
                " streams end after SSE_HUB_REVALIDATE_INTERVAL, and their clients"
                " reconnect. Change the loader so that it needs no request body,"
                " nothing that a middleware adds, and nothing that before_request sets",
            )
            return False
        return True

    def grant(
        self, visitor: Visitor, channels: Sequence[str], rule: Authorizer | None
    ) -> Grant | None:
        """Return the grant for checking an open stream, None if nothing is checked."""
        if visitor.channels is not None:
            # The app decided about these channels when it signed the ticket.
            rule = None
        elif (
            rule == self.is_open
            and all(map(self._is_public, channels))
            and not self._may_change_channels(visitor)
        ):
            rule = None
        if visitor.identity.user is None:
            asks = rule is not None
        else:
            asks = self._loader(visitor.login) is not None and self.can_reload(visitor)
        if not asks:
            return None
        return Grant(visitor.login, rule, *self._requests.keep(request.environ))

    def _may_change_channels(self, visitor: Visitor) -> bool:
        """Tell whether an anonymous visitor's stream may get channels with a rule.

        The rule will need the opening request. Streams of users keep it in any case.
        """
        has_client_id = visitor.identity.session is not None
        return has_client_id and self._rules.authorize is not None

    def regrant(self, grant: object) -> Grant | None:
        """Return the grant of a stream whose channels have changed while it is open.

        A stream without a grant has none for other channels either: it ends soon, or
        nothing but the settings can open a channel to it.
        """
        if grant is None:
            return None
        return cast("Grant", grant)._replace(rule=self.is_open)

    def lost(self, clients: Sequence[Client]) -> Iterator[Client]:
        """Yield those of one user's clients that may no longer listen.

        Each client is asked about in the context of the request that opened its stream,
        with its headers and cookies and without a body. The user is loaded once for
        each session and each kind of login, in an app context that lasts until the
        clients of that session have been checked.

        An error is raised after all clients have been checked. Otherwise a user could
        open one stream whose rule fails and keep all others open by it.
        """
        groups: dict[tuple[Login, str | None], list[Client]] = {}
        for client in clients:
            grant = cast("Grant", client.grant)
            groups.setdefault((grant.login, client.identity.session), []).append(client)
        trouble: Exception | None = None
        for (login, _), some in groups.items():
            loaded: list[Any] = []
            with self._app.app_context():
                for client in some:
                    try:
                        may_listen = self._may_still_listen(client, login, loaded)
                    except Exception as error:  # noqa: BLE001 - raised below
                        trouble = error
                    else:
                        if not may_listen:
                            yield client
        if trouble is not None:
            raise trouble

    def _may_still_listen(
        self, client: Client, login: Login, loaded: list[Any]
    ) -> bool:
        """Ask about one client. ``loaded`` holds the user once it is loaded."""
        grant = cast("Grant", client.grant)
        opening = OpeningRequest(grant.common, grant.own)
        with _request_again(self._app, opening):
            if login is Login.SESSION and not sessions.goes_on(client.identity):
                return False
            if not loaded:
                loaded.append(self._load_again(login, client.identity.user))
            (person,) = loaded
            if login_manager(self._app) is not None:
                # A rule may read Flask-Login's current_user.
                g._login_user = person  # noqa: SLF001
            return _still_may(client, person, grant.rule)

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


@contextmanager
def _request_again(app: Flask, opening: OpeningRequest) -> Iterator[None]:
    """Enter the context of a stream's opening request again."""
    context = app.request_context(opening.environ())
    try:
        # Opening the session may fail, as where a middleware would have put it into the
        # environ. Flask leaves the context in place then.
        context.push()
        yield
    finally:
        context.pop()


def _still_may(client: Client, person: Any, rule: Authorizer | None) -> bool:
    if client.identity.user is not None and not is_logged_in(person):
        return False
    try:
        return rule is None or all(
            allows(rule, person, name) for name in client.channels
        )
    except _REFUSALS:
        return False
