"""The Flask extension: the object that an app and its views call.

Finds the state of the current app and passes each call on to it. Does not know how
streams are opened or events delivered.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

from flask import Flask, Response, current_app, has_app_context

from ..auth.rules import Authorizer, Rules
from ..auth.secret_keys import older_keys
from ..auth.tickets import Ticket
from ..errors import (
    ConfigurationError,
    InvalidOption,
    InvalidTarget,
    TooManyAnswers,
)
from ..events import address, words
from ..events.address import UNSET, HasId, Name, Target, Unset, Users
from ..events.channel_patterns import checked_subscription
from ..events.compose import Composer
from ..events.pending import PendingEvent, Transactional
from ..events.record import Record
from ..events.typed.registry import EventTypes
from ..hub.clients.client import Metadata
from ..hub.stats import HubStats
from ..metrics.machine_stats import MachineStats
from ..runtime.arguments import explaining
from .answers import LastingAnswers, too_many
from .app_state import AppState
from .blueprint import create_blueprint
from .cli import create_group
from .config import Config
from .page_setup import SetsUpPages
from .presence import HasPresence
from .receipts import HasReceipts
from .registering import check_callable
from .restarts import HasRestarters, Restarters
from .row_events import PublishesRows
from .rules import HasRules
from .statistics import machine_stats

if TYPE_CHECKING:
    from ..database.outbox import Outbox

_EXTENSION = "sse_hub"


class SSEHub(
    PublishesRows, HasRules, HasRestarters, HasPresence, HasReceipts, SetsUpPages
):
    """Push server-sent events from a Flask app.

    The object holds no state of an app, so one object can serve many apps::

        sse_hub = SSEHub()
        sse_hub.init_app(app)
        sse_hub.publish({"text": "hello"}, user=42)

    Args:
        app: The app. Left out, ``init_app()`` follows.
        outbox: The Outbox for events of ``publish(outbox=True)``.
        event_types: The typed events that other processes publish too.

    Raises:
        ConfigurationError: A setting of the app is invalid.
        InvalidOption: ``app`` is not a Flask app.

    """

    @explaining("SSEHub(app)", words=words.SETTINGS)
    def __init__(
        self,
        app: Flask | None = None,
        *,
        outbox: "Outbox | None" = None,
        event_types: EventTypes | None = None,
    ) -> None:
        super().__init__(event_types)
        self._rules = Rules()
        self._restarters = Restarters()
        self._outbox = outbox
        # Used only to find the app without an app context: in a thread, a greenlet or a
        # timer.
        self._apps: WeakSet[Flask] = WeakSet()
        if app is not None:
            self.init_app(app)

    @explaining("sse_hub.init_app(app)", words=words.SETTINGS)
    def init_app(self, app: Flask) -> None:
        """Read the app's configuration and register the blueprint.

        Starts nothing: a process follows the log from its first stream on. For
        example::

            def create_app():
                app = Flask("shop")
                sse_hub.init_app(app)
                return app

        Args:
            app: The app, with all of its settings.

        Raises:
            ConfigurationError: A setting is invalid, or the app has a hub already.
            InvalidOption: ``app`` is not a Flask app.

        """
        if not isinstance(app, Flask):
            raise InvalidOption(
                f"SSEHub takes a Flask app, not {app!r:.50}: write SSEHub(app), or"
                " SSEHub() and later sse_hub.init_app(app)"
            )
        if _EXTENSION in app.extensions:
            raise ConfigurationError(
                f"the app {app.name!r} already has an SSEHub: call init_app only once,"
                " and leave it out after SSEHub(app)"
            )
        # A key of one letter would sign the app's sessions too, so this does not wait
        # for the first ticket.
        older_keys(app.config.get("SECRET_KEY_FALLBACKS"))
        state = AppState(
            app,
            Config.read(app.config),
            self._rules,
            restarters=self._restarters,
            outbox=self._outbox,
            event_types=self._event_types,
        )
        blueprint = create_blueprint(state)
        app.extensions[_EXTENSION] = state
        self._apps.add(app)
        app.register_blueprint(blueprint)
        app.register_error_handler(TooManyAnswers, too_many)
        app.cli.add_command(create_group(self, state))
        app.context_processor(lambda: {_EXTENSION: self})
        state.logins.watch(app)
        state.problems.watch(app)
        state.late_settings.watch(app)
        state.after_commit.watch(app)

    def _publishing(self) -> tuple[Composer, Callable[[Record], str]]:
        state = self._state()
        return state.composer, state.publish

    def _publish_after(
        self, after: Transactional, record: Record, *, outbox: bool
    ) -> PendingEvent:
        return self._state().publish_after(after, record, stored=outbox)

    @explaining("disconnect(user=..., session=..., client=...)", words=words.TARGETS)
    def disconnect(
        self,
        *,
        user: Users | Unset = UNSET,
        session: Target | Unset = UNSET,
        client: Target | Unset = UNSET,
    ) -> None:
        """End the open streams of users, sessions or clients, on every worker.

        Streams that are opened later are not affected. In a request, streams of other
        workers end in the background, and the call does not wait for the broker. In a
        script, a command, a job or a thread, the call has written to the log when it
        returns. For example::

            sse_hub.disconnect(user=42)

        Args:
            user: The id of a user or a user object, or several.
            session: The id of a session, or several.
            client: The id of a client, or several.

        Raises:
            InvalidTarget: There is no target: a forgotten argument must not end the
                streams of every client.
            BrokerUnavailable: The broker cannot be reached: call it again. Never raised
                in a request.
            ConfigurationError: Other processes would not be reached.

        """
        if user is session is client is UNSET:
            raise InvalidTarget(
                "disconnect() was called without a target: pass user=, session= or"
                " client="
            )
        self._state().disconnect(
            address.target(user=user, session=session, client=client, broadcasts=False)
        )

    @explaining("stream(*channels, personal=...)", words=words.CHANNELS)
    def stream(
        self,
        *channels: str,
        still_allowed: Authorizer | None = None,
        personal: bool = True,
        metadata: Metadata | None = None,
        client_id: str | None = None,
        state: bool = False,
        presence: bool = False,
        invisible: bool = False,
    ) -> Response:
        """Return a response that streams these channels to the current user.

        Call it from a view with a rule of its own, after the view has decided that the
        user may listen to the channels. For example::

            @app.get("/dashboard/events")
            @login_required
            def dashboard_events():
                return sse_hub.stream("dashboard")

        Args:
            *channels: The names of the channels. ``"orders.*"`` stands for all channels
                whose names begin with ``orders.``
            still_allowed: ``f(user, channel) -> bool``, called for each channel every
                SSE_HUB_REVALIDATE_INTERVAL while the stream is open. False ends the
                stream. It runs with the headers and cookies of this request. Without
                it only the user is loaded again, and the channels stay open.
            personal: Whether the stream also brings broadcasts and the events for the
                user and the session. Events for this client arrive in any case.
            metadata: A few short values about the client, such as its page or device,
                for statistics and signals.
            client_id: The id that ``client_id()`` has given to this client, for an app
                whose URLs name it in another way than ``?client_id=``.
            state: Whether the stream begins with the newest event of each key. See
                ``key`` of ``publish()``.
            presence: Whether the stream begins with the people who are present.
            invisible: Whether the others do not see this client in the presence.

        Returns:
            The stream, or a refusal if a limit is reached.

        Raises:
            InvalidName: A channel's name is not usable, or there are more channels than
                SSE_HUB_MAX_CHANNELS. A pattern covers channels with presence, and the
                stream is not invisible.
            InvalidMetadata: The metadata is not a small dict of plain values.
            InvalidOption: ``still_allowed`` cannot be called as above.
            ConfigurationError: The server or the broker cannot serve streams.
            HTTPException: The request is refused: 401 without a required login, 403 for
                a page of another origin, 400 for a forged client id.

        """
        for name in channels:
            checked_subscription(name, call="stream")
        if still_allowed is not None:
            check_callable("still_allowed", still_allowed, ("user", "channel"))
        return self._state().subscribing.open_stream(
            channels,
            still_allowed=still_allowed,
            personal=personal,
            metadata=metadata,
            client_id=client_id,
            state=state,
            presence=presence,
            invisible=invisible,
        )

    @explaining("ticket(user=..., channels=..., expires=...)", words=words.TICKET)
    def ticket(
        self,
        *,
        user: Name | HasId | Unset = UNSET,
        channels: Target = (),
        expires: float = 60.0,
    ) -> str:
        """Return a ticket that opens streams of one user without a cookie.

        Put it into the stream's URL as ``?ticket=``. A client can use the ticket until
        it expires, also to reconnect. A stream that is open then goes on. For example::

            @app.post("/ticket")
            @login_required
            def ticket():
                return sse_hub.ticket(channels="orders", expires=60)

        Args:
            user: The id of the user, or the user object. Left out, it is the user of
                this request; that ticket ends with the user's session.
            channels: A channel or several that the ticket opens, beside the public
                ones. A pattern such as ``"orders.*"`` opens all that it covers. Check
                that the user may listen to them before you call this.
            expires: For how many seconds from now the ticket can be used.

        Returns:
            The signed ticket, as text for a URL.

        Raises:
            Unauthorized: ``user`` is left out, a login is required, and this request
                has none. Flask answers with 401.
            InvalidTarget: ``user`` is left out outside a request, or ``channels`` is
                not a name or a list of names.
            InvalidName: The user's id or a channel's name is not usable.
            InvalidTicket: ``expires`` is not a positive number of seconds.
            ConfigurationError: The app has no SECRET_KEY.

        """
        state = self._state()
        identity = state.access.identity_for(user)
        return Ticket.lasting(
            expires, now=state.time_of_day(), identity=identity, channels=channels
        ).sign()

    @property
    def answers(self) -> LastingAnswers:
        """The answers that outlive their readers."""
        return self._state().answers

    def stats(self, *, clients: bool = False) -> HubStats:
        """Return this worker's statistics.

        For example::

            open_streams = sse_hub.stats().connections

        Args:
            clients: Whether to add one entry for each open stream.

        """
        return self._state().hub.stats(clients=clients)

    def machine_stats(self) -> MachineStats:
        """Return the statistics of all workers of this machine.

        The other workers are asked. A worker answers from its first stream or health
        check on. One that is stopped or too busy is waited for, for two seconds. For
        example::

            open_streams = sse_hub.machine_stats().total.connections

        A script may call it too. Without a worker, all sums are 0.
        """
        return machine_stats(self._state())

    def drain(self) -> None:
        """End all streams of this process, and admit no new clients.

        Each client is told when to reconnect. Under gunicorn this happens
        automatically; call it yourself before you stop any other server::

            sse_hub.drain()
        """
        self._state().hub.drain()

    if not TYPE_CHECKING:
        # Type checkers shall know the methods that there are, and no others.

        def __getattr__(self, name: str) -> object:
            remedy = words.METHODS.get(name)
            hint = "" if remedy is None else f": {remedy}"
            raise AttributeError(f"SSEHub has no attribute {name!r}{hint}")

    def _state(self) -> AppState:
        if has_app_context():
            app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        elif len(self._apps) == 1:
            (app,) = self._apps
        elif not self._apps:
            raise ConfigurationError(
                "this SSEHub has no app: call sse_hub.init_app(app) first"
            )
        else:
            raise ConfigurationError(
                f"there is no app context, and this SSEHub serves {len(self._apps)}"
                " apps: choose one by `with app.app_context():`"
            )
        if app not in self._apps:
            raise ConfigurationError(
                f"this SSEHub does not serve {app.name!r}, the app of the current app"
                " context: call sse_hub.init_app(app) first, or use that app's own"
                " SSEHub"
            )
        state: AppState = app.extensions[_EXTENSION]
        return state
