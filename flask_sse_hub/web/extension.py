"""The Flask extension: what an app and its views call."""

from collections.abc import Callable
from weakref import WeakSet

from flask import Flask, Response, current_app, has_app_context
from markupsafe import Markup

from ..auth import client_ids, visitor
from ..auth.access import Authorizer, Describer, Reloader, Rules
from ..auth.tickets import Ticket
from ..errors import ConfigurationError, InvalidTarget
from ..events import address
from ..events.address import UNSET, Name, Names, Unset
from ..events.compose import Composer, PublishesEvents
from ..events.record import Record
from ..hub.clients.client import Metadata
from ..hub.clients.close_reason import CloseReason
from ..hub.stats import HubStats
from . import client_script
from .app_state import AppState
from .blueprint import create_blueprint
from .cli import create_group
from .config import Config

_EXTENSION = "sse_hub"


class SSEHub(PublishesEvents):
    """Push server-sent events from a Flask app.

    Holds no state of an app, so one object can serve many::

        sse_hub = SSEHub()
        sse_hub.init_app(app)
        sse_hub.publish({"text": "hello"}, user=42)
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._rules = Rules()
        # Only to find the app where there is no context: a thread, a greenlet, a timer.
        self._apps: WeakSet[Flask] = WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the app's configuration and register the blueprint.

        Starts nothing: followers run from the first stream on, in the process that
        serves it. Raises ConfigurationError for a setting that cannot work, and when
        the app has a hub already.
        """
        if _EXTENSION in app.extensions:
            raise ConfigurationError(
                f"the app {app.name!r} already has an SSEHub: init_app is called once"
            )
        state = AppState(app, Config.read(app.config), self._rules)
        app.extensions[_EXTENSION] = state
        self._apps.add(app)
        app.register_blueprint(create_blueprint(state))
        app.cli.add_command(create_group(self, state))
        app.context_processor(lambda: {_EXTENSION: self})
        state.logins.watch(app)

    def authorize_channel(self, authorizer: Authorizer) -> Authorizer:
        """Register the rule for channels: ``f(user, channel) -> bool``.

        Without one, only SSE_HUB_PUBLIC_CHANNELS can be asked for. Whoever is allowed a
        channel is allowed what is retained of it.
        """
        self._rules.authorize = authorizer
        return authorizer

    def describe_client(self, describer: Describer) -> Describer:
        """Register ``f() -> dict``: metadata for each stream of the blueprint.

        Called in the request that opens the stream. A few short values (the page, the
        device); they are seen in statistics and signals.
        """
        self._rules.describe = describer
        return describer

    def reload_user(self, reloader: Reloader) -> Reloader:
        """Register ``f(user_id) -> user``, for who is not known by Flask's session.

        A bearer token that a ``request_loader`` took may have been taken back while its
        user is as welcome as ever, so Flask-Login's own loader is not asked. None says
        that the user may no longer listen. Without one, streams of such users end after
        SSE_HUB_REVALIDATE_INTERVAL, and their clients come back with their token.
        """
        self._rules.reload = reloader
        return reloader

    def _publishing(self) -> tuple[Composer, Callable[[Record], str]]:
        state = self._state()
        return state.composer, state.publish

    def disconnect(
        self,
        *,
        user: Names | Unset = UNSET,
        session: Names | Unset = UNSET,
        client: Names | Unset = UNSET,
    ) -> None:
        """End the streams of users, sessions or clients, on every worker.

        Those that are opened later are not concerned. Raises InvalidTarget without any
        target: there is no way to end everybody's streams by forgetting an argument.
        """
        if user is session is client is UNSET:
            raise InvalidTarget("disconnect() needs a user, session or client")
        self._state().hub.disconnect(
            address.target(user=user, session=session, client=client),
            reason=CloseReason.DISCONNECTED,
        )

    def stream(
        self,
        *channels: str,
        still_allowed: Authorizer | None = None,
        personal: bool = True,
        metadata: Metadata | None = None,
    ) -> Response:
        """Return a response that subscribes the current user to these channels.

        For views with rules of their own: whoever calls it has decided that the user
        may listen. While the stream is open ``still_allowed(user, channel) -> bool`` is
        asked again for each channel, every SSE_HUB_REVALIDATE_INTERVAL; without it only
        the user is. It runs in an app context, without a request.

        The user's own addresses and broadcasts are included unless ``personal`` is
        False. Raises InvalidName.
        """
        return self._state().subscribing.open_stream(
            channels, still_allowed=still_allowed, personal=personal, metadata=metadata
        )

    def ticket(
        self,
        *,
        user: Name | Unset = UNSET,
        channels: Names = (),
        expires: float = 60.0,
    ) -> str:
        """Return a ticket for the stream's URL, ``?ticket=``, for who has no cookie.

        It opens the streams of one user, with any of these channels beside the public
        ones: whoever calls this has decided that the user may listen. ``user`` left out
        is who makes this request; a ticket of one's own ends with the session. It can
        be used until it expires, in seconds from now, as often as a connection drops;
        a stream that is open then goes on.

        Raises Unauthorized (401) where nobody is logged in, and InvalidTarget,
        InvalidName, InvalidTicket, ConfigurationError without a SECRET_KEY.
        """
        state = self._state()
        identity = state.access.identity_for(user)
        now = state.time_of_day()
        return Ticket.lasting(
            expires, now=now, identity=identity, channels=channels
        ).sign()

    def cursor(self) -> str:
        """Return the id to put into a page before its state is queried.

        A stream opened with ``?last_event_id=`` of it misses nothing that happened in
        between. Raises BrokerUnavailable.
        """
        return str(self._state().hub.cursor())

    def client_id(self) -> str:
        """Return a new signed client id for the page's URL: ``?client_id=``.

        It is bound to the session of this request. The page's code and the server know
        the stream by it before it is opened.
        """
        self._state()
        visitor.session_id()
        return client_ids.mint_client_id(visitor.current_identity())

    def script(
        self,
        *channels: str,
        url: str | None = None,
        nonce: str | None = None,
        cursor: str | None = None,
    ) -> Markup:
        """Return what a page's head needs for ``connect()`` of the browser client.

        A new client id of the page, its user, the address of its stream, and an import
        map, so that its modules can ``import { connect } from "sse-hub"``. The stream
        is the blueprint's with these channels, or that of a view, by its ``url``.
        ``cursor`` is what ``cursor()`` said before the page's state was queried;
        ``nonce`` that of the page's Content-Security-Policy, where it has one.

        Needs a request. Raises InvalidName for a channel, and ConfigurationError for
        channels beside a URL or without a SECRET_KEY.
        """
        return client_script.head_of_page(
            channels,
            url=url,
            nonce=nonce,
            cursor=cursor,
            client_id=self.client_id(),
            user_id=visitor.current_identity().user,
        )

    def session_id(self) -> str:
        """Return the id of this request's session, for ``publish(session=...)``."""
        self._state()
        return visitor.session_id()

    def owns_client(self, client_id: str) -> bool:
        """Tell whether a client id belongs to who makes this request.

        For views that act on a client that the page names: any worker can tell, also
        while the stream is just coming back.
        """
        self._state()
        return client_ids.owns_client_id(client_id, visitor.current_identity())

    def stats(self, *, clients: bool = False) -> HubStats:
        """Return this worker's statistics; ``clients`` adds one entry per stream."""
        return self._state().hub.stats(clients=clients)

    def drain(self) -> None:
        """Say farewell to all clients of this process and take no new ones.

        Under gunicorn this happens by itself. For other servers: call it before they
        are stopped.
        """
        self._state().hub.drain()

    def _state(self) -> AppState:
        if has_app_context():
            app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        elif len(self._apps) == 1:
            (app,) = self._apps
        elif not self._apps:
            raise ConfigurationError(
                "this SSEHub has no app yet: call sse_hub.init_app(app) first"
            )
        else:
            raise ConfigurationError(
                f"there is no app context, and this SSEHub has {len(self._apps)} apps,"
                " so it cannot tell which one is meant: use `with app.app_context():`"
            )
        if app not in self._apps:
            raise ConfigurationError(
                f"this SSEHub does not serve {app.name!r}, whose app context this is:"
                " call sse_hub.init_app(app) first, or use that app's own SSEHub"
            )
        state: AppState = app.extensions[_EXTENSION]
        return state
