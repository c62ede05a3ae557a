"""Subscribing: from a request to the response that streams to its client.

The only module that joins Flask's requests to the hub for streams. Checks step by step
whether a stream may open, and says why if not. Does not know how events are delivered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from flask import Response, after_this_request, current_app, request
from werkzeug.exceptions import BadRequest

from ..auth import sessions
from ..auth.access import Access
from ..auth.rules import Authorizer, Rules
from ..auth.visitor import Visitor, load_visitor
from ..errors import (
    BrokerUnavailable,
    ClientRefused,
    InvalidName,
    TooManyStreams,
)
from ..events.channel_patterns import checked_subscription
from ..events.record import UNPLACED, Cursor
from ..hub.clients.client import Client, Metadata
from ..hub.delivery.ends import CLOCK_SKEW_SECONDS
from ..hub.hub import Hub
from ..hub.lifecycle import draw_age
from ..runtime import tracing
from ..runtime.rare_log import FirstTime
from ..server.connection import connection_of, last_event_id
from ..server.support import check_server
from ..server.surroundings import surroundings
from ..streams.generator import EventStream
from ..streams.response import (
    StreamResponse,
    accepted_coding,
    keep_out_of_caches,
    refused,
)
from ..streams.takeover import TakeoverStream
from .client_address import ClientAddresses
from .client_metadata import checked_metadata
from .config import Config
from .cors import Origins
from .presence import PresenceOfStreams
from .query_names import YES, QueryNames
from .reach import Reach

_TOO_OFTEN = "streams are opened too often from one network address"

# Added to a refusal in debug mode.
_LIMITS = (
    ": close some, or change SSE_HUB_MAX_CLIENTS_PER_USER, SSE_HUB_MAX_CLIENTS_PER_IP"
    " or SSE_HUB_CONNECT_RATE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """One request for a stream, and the rules for its channels.

    ``arrive()`` refuses strangers, and returns the function that loads the visitor.
    ``rule`` is applied to each channel now, ``still_allowed`` while the stream is open.
    ``describe()`` returns the client's metadata, ``warnings()`` the mistakes in the
    request's query. ``client_id`` is the id that the client has sent, if it is not in
    ``?client_id=``. ``state`` tells whether the stream begins with the state of keys,
    ``presence`` whether with the people who are present. Nobody sees an ``invisible``
    client. ``check(visitor)`` may refuse the visitor by an HTTPException.
    ``regrant()`` returns its grant for other channels; without it they stay the same.
    """

    channels: Sequence[str]
    arrive: Callable[[], Callable[[], Visitor]]
    rule: Authorizer | None = None
    still_allowed: Authorizer | None = None
    personal: bool = True
    describe: Callable[[], Metadata | None] = lambda: None
    warnings: Callable[[], Sequence[str]] = tuple
    client_id: str | None = None
    state: bool = False
    check: Callable[[Visitor], None] = lambda _: None
    presence: bool = False
    invisible: bool = False
    regrant: Callable[[object], object] | None = None


class Subscribing:
    """Open streams of one app.

    ``hub`` returns the hub of this process. ``time_of_day`` returns the seconds since
    1970.
    """

    def __init__(
        self,
        config: Config,
        rules: Rules,
        access: Access,
        presence: PresenceOfStreams,
        origins: Origins,
        reach: Reach,
        *,
        hub: Callable[[], Hub],
        time_of_day: Callable[[], float],
    ) -> None:
        self._config = config
        self._rules = rules
        self._access = access
        self._origins = origins
        self._reach = reach
        self._hub = hub
        self._time_of_day = time_of_day
        self._addresses = ClientAddresses(
            config.connect_rate, most=config.max_clients_per_ip
        )
        self._first_time = FirstTime()
        self._query_names = QueryNames()
        self._presence = presence
        # Each look at the method makes a new object, which a stream would keep.
        self._regrant = access.regrant

    def subscribe(self, channels: Sequence[str]) -> Response:
        """Return the blueprint's stream of the channels that a request asks for."""
        # A missing name takes long in Werkzeug's own dict, which raises an error first.
        given = request.args.to_dict()
        ticket = given.get("ticket")
        try:
            return self._open(
                StreamRequest(
                    channels=channels,
                    arrive=partial(self._with_ticket, ticket)
                    if ticket
                    else self._access.arrive,
                    rule=self._access.is_open,
                    still_allowed=self._access.is_open,
                    describe=self._rules.describe or (lambda: None),
                    warnings=self._query_names.warnings,
                    state=given.get("state") in YES,
                    presence=given.get("presence") in YES,
                    # A view, or a ticket, has named the channels of its stream.
                    regrant=None if ticket else self._regrant,
                )
            )
        except InvalidName as error:
            raise BadRequest(str(error)) from error

    def open_stream(
        self,
        channels: Sequence[str],
        *,
        still_allowed: Authorizer | None,
        personal: bool,
        metadata: Metadata | None,
        client_id: str | None,
        state: bool,
        presence: bool,
        invisible: bool,
    ) -> Response:
        """Return a stream of channels that a view of the app has allowed."""
        asked = StreamRequest(
            channels=channels,
            arrive=self._access.arrive,
            still_allowed=still_allowed,
            personal=personal,
            describe=lambda: metadata,
            client_id=client_id,
            state=state,
            presence=presence,
            invisible=invisible,
        )
        self.add_headers_later()
        return self._open(asked)

    def reader(self, check: Callable[[Visitor], None]) -> Client | Response:
        """Return a client that listens to nothing, for a stream of another kind.

        What ends the visitor's other streams ends it too. Returns a temporary refusal
        if a limit is reached. A login is not needed: ``check`` decides.
        """
        asked = StreamRequest(
            channels=(),
            arrive=lambda: partial(load_visitor, login_required=False),
            personal=False,
            check=check,
        )
        self._check_surroundings()
        hub = self._hub()
        hub.attend(surroundings(request.environ).worker)
        try:
            return self._admitted(hub, asked)
        except ClientRefused as refusal:
            return temporarily_refused(refusal)

    def add_headers_later(self) -> None:
        """Add the headers for caches and allowed origins when the view has returned.

        The blueprint's hook does not see the app's own views. The app turns an error
        into a response after its view, and that response needs the headers too. A
        decorator of the view, such as that of Flask-CORS, adds its headers without a
        look at ours, and browsers refuse a header that comes twice.
        """
        after_this_request(self._with_headers)

    def _with_headers(self, response: Response) -> Response:
        return self._origins.add_headers(keep_out_of_caches(response))

    def _open(self, asked: StreamRequest) -> Response:
        """Return the stream of this request's client, or a temporary refusal."""
        self._check_surroundings()
        hub = self._hub()
        hub.attend(surroundings(request.environ).worker)
        try:
            client = self._admitted(hub, asked)
        except ClientRefused as refusal:
            return temporarily_refused(refusal)
        _trace(client)
        return self._response(hub, client, asked.warnings())

    def _check_surroundings(self) -> None:
        """Raise if the server, the broker or the requesting page rules out a stream."""
        check_server(request.environ)
        self._reach.check()
        self._origins.refuse_others()

    def _admitted(self, hub: Hub, asked: StreamRequest) -> Client:
        """Return the client of this request, if it may listen. Raises ClientRefused."""
        ip = self.check_rate()
        # Refuse strangers first: while the broker hangs, reading the log's head takes
        # more than a second, and anybody could keep the worker waiting.
        load = asked.arrive()
        # Note the time and the log's head before the user is loaded. A logout while the
        # user is being loaded is then after them, and still ends the stream.
        loaded_at = self._time_of_day()
        since = _head(hub)
        visitor = load()
        asked.check(visitor)
        channels = self._checked_channels(asked.channels or visitor.channels or ())
        self._access.check(visitor, channels, asked.rule)
        asked_id = asked.client_id or request.args.get("client_id")
        make_client = self._presence.maker(
            visitor,
            channels,
            invisible=asked.invisible,
            lists=asked.presence,
            may_change=asked.regrant is not None,
        )
        client = make_client(
            self._access.client_id(asked_id, visitor.identity),
            identity=visitor.identity,
            channels=channels,
            personal=asked.personal,
            since=since,
            loaded_at=loaded_at,
            not_before=self._not_before(visitor),
            grant=self._access.grant(visitor, channels, asked.still_allowed),
            regrant=asked.regrant,
            ip=ip if self._config.max_clients_per_ip else None,
            ends_at=self._ends_at(hub, visitor),
            metadata=checked_metadata(asked.describe(), self._first_time),
            coding=hub.coding(accepted_coding(hub.coding_names)),
            state=asked.state,
            reset_type=_reset_type(),
            names_channels=request.args.get("names_channels") in YES,
        )
        hub.check_admission(client.identity, client.ip)
        return client

    def check_rate(self) -> str | None:
        """Count a stream, or a change of one, for the rate of its network address.

        Returns the address, if streams are limited by it. Raises ClientRefused.
        """
        ip = self._addresses.for_limits()
        if not self._addresses.may_come(ip):
            raise self._hub().refusal(TooManyStreams(_TOO_OFTEN), reason="connect_rate")
        return ip

    def _response(self, hub: Hub, client: Client, warnings: Sequence[str]) -> Response:
        takeover = self._config.socket_takeover
        stream = TakeoverStream if takeover else EventStream
        return StreamResponse(
            stream(
                hub,
                client,
                last_event_id=last_event_id(request),
                connection=connection_of(request.environ),
                # Only a developer reads them, and they cost each client bytes.
                warnings=warnings if current_app.debug else (),
            ),
            coding=client.coding.name,
        )

    def _with_ticket(self, ticket: str) -> Callable[[], Visitor]:
        """Return the function that loads a ticket's visitor. Raises Unauthorized."""
        return self._access.arrive_with(
            ticket, self._hub().has_ended, now=self._time_of_day()
        )

    def _ends_at(self, hub: Hub, visitor: Visitor) -> float:
        """Return when the stream ends because its login does, infinity if never.

        The session may have been prolonged meanwhile, and a user that cannot be loaded
        again may still be welcome. A reconnect tells.
        """
        left = self._access.valid_for(visitor, now=self._time_of_day())
        if not self._access.can_reload(visitor):
            left = min(left, draw_age(self._config.revalidate_interval))
        return hub.clock() + left

    def _not_before(self, visitor: Visitor) -> float:
        """Return the time from which on events are for the visitor, 0.0 if for ever.

        A user who registers now must not receive earlier events, nor those for the last
        holder of a user id that is used again.
        """
        began = sessions.began(visitor.identity.session)
        if began is None or self._config.resume_before_login:
            return 0.0
        return began - CLOCK_SKEW_SECONDS

    def _checked_channels(self, channels: Sequence[str]) -> tuple[str, ...]:
        names = [checked_subscription(name) for name in channels]
        most = self._config.max_channels
        if len(set(names)) > most:
            raise InvalidName(
                f"{len(set(names))} channels in one stream; SSE_HUB_MAX_CHANNELS allows"
                f" {most}"
            )
        return tuple(dict.fromkeys(names))


def temporarily_refused(refusal: ClientRefused) -> Response:
    """Return the response for a request that may come again later."""
    if not isinstance(refusal, TooManyStreams):
        return refused(str(refusal), status=503)
    remedy = _LIMITS if current_app.debug else ""
    return refused(f"{refusal}{remedy}", status=429)


def _trace(client: Client) -> None:
    """Add the stream to the trace of its request; its end is told there too.

    A span that is as long as a stream would come hours after the rest of its trace.
    """
    if tracing.is_on():
        tracing.tell(
            "sse_hub.stream.opened",
            {"sse_hub.client": client.id, "sse_hub.channels": client.channels},
        )
        client.traceparent = tracing.here()


def _reset_type() -> str:
    """Return the type of the event that tells this request's client of a gap.

    Datastar ignores events whose types do not begin with its name. Its requests have a
    header of their own.
    """
    return "datastar-reset" if "Datastar-Request" in request.headers else "reset"


def _head(hub: Hub) -> Cursor:
    """Return the head of the log, or UNPLACED while the broker cannot be reached.

    A client with UNPLACED waits with its own cursor until the broker is back.
    """
    try:
        return hub.cursor()
    except BrokerUnavailable:
        return UNPLACED
