"""The method ``publish()`` of every publisher, and the records it makes.

Knows events, addresses and records. Does not know where a record is appended.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypedDict, Unpack, overload

from ..errors import EventTooLarge, InvalidEvent, InvalidOption
from ..runtime.arguments import explaining
from ..runtime.coded_log import CodedLog
from ..runtime.rare_log import RareLog
from . import address, habits, words
from .address import UNSET, Address, Target, Unset, Users
from .event import Event, checked_name
from .patterns import ChannelHistories, DefaultTtls, checked_ttl
from .pending import PendingEvent, Transactional
from .record import Record
from .typed.registry import EventTypes

log = CodedLog(__name__)
_rare_log = RareLog(log)

#: The default of ``SSE_HUB_MAX_EVENT_BYTES``: how many bytes an event's data may have.
MAX_EVENT_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Composer:
    """Make records by the rules of one app.

    ``dumps`` serialises data as JSON that is neither text nor bytes. The data of one
    event may have ``max_event_bytes`` bytes. ``default_ttls`` has the ttl of events
    without one of their own, and ``histories`` how much history channels keep.
    ``event_types`` are the typed events.
    """

    dumps: Callable[[Any], str]
    max_event_bytes: int
    default_ttls: DefaultTtls = DefaultTtls()
    histories: ChannelHistories = ChannelHistories()
    event_types: EventTypes = field(default_factory=EventTypes)

    def record(
        self,
        data: object,
        *,
        type: str | Unset = UNSET,
        channel: Target | Unset = UNSET,
        user: Users | Unset = UNSET,
        session: Target | Unset = UNSET,
        client: Target | Unset = UNSET,
        exclude_client: Target | None = None,
        retry: float | None = None,
        idempotency_key: str | None = None,
        key: str | None = None,
        delete: bool = False,
        ttl: float | Unset | None = UNSET,
        receipt: bool = False,
    ) -> Record:
        """Return the record for the arguments of ``publish()``; see there.

        Raises InvalidEvent, EventTooLarge, InvalidName and InvalidTarget.
        """
        if delete and key is None:
            raise InvalidEvent("delete=True removes the state of a key: pass key= too")
        event = self._event(data, type=type, retry=retry)
        size = len(event.data.encode())
        if size > self.max_event_bytes:
            raise EventTooLarge(
                f"the data has {size} bytes; {self.max_event_bytes} are allowed"
                " (SSE_HUB_MAX_EVENT_BYTES). Publish a URL from which clients load the"
                " data"
            )
        addresses = address.target(
            channel=channel, user=user, session=session, client=client
        )
        ends = self._ttl(ttl, addresses)
        return Record(
            addresses=addresses,
            content=event,
            exclude=_excluded(exclude_client),
            idempotency_key=None
            if idempotency_key is None
            else checked_name(idempotency_key, what="an idempotency key"),
            key=None if key is None else checked_name(key, what="a key"),
            deletes=bool(delete),
            ttl=ends,
            receipt=bool(receipt),
            bounds=self.histories.of_event(addresses) if ends is None else None,
        )

    def _ttl(
        self, given: float | Unset | None, addresses: tuple[Address, ...]
    ) -> float | None:
        if given is UNSET:
            return self.default_ttls.of_event(addresses)
        return None if given is None else checked_ttl(given, error=InvalidEvent)

    def _event(self, data: object, *, type: str | Unset, retry: float | None) -> Event:
        if habits.is_on_the_wire(data):
            _rare_log.warning(
                "SSE-1501",
                "an event was published whose data has `data:` and a blank line of its"
                " own, and clients receive them as text: publish the data alone",
            )
        encode = partial(self.event_types.encode, dumps=self.dumps)
        if not isinstance(data, Event):
            name, text = encode(data, type=type)
            event = Event(text, type=name, retry=retry)
        elif type is UNSET and retry is None:
            _, text = encode(data.data, type=data.type)
            event = replace(data, data=text)
        else:
            raise InvalidEvent(
                "an Event has its own type and retry: leave out type= and retry=, or"
                " publish the Event's data instead"
            )
        if habits.is_in_milliseconds(event.retry):
            _rare_log.warning(
                "SSE-1502",
                f"an event was published with retry={event.retry:g} (seconds, not"
                " milliseconds?)",
            )
        return event


def _excluded(names: Target | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return tuple(
        address.checked_id(name, what="a client's id")
        for name in address.each_name(names, what="exclude_client")
    )


class PublishOptions(TypedDict, total=False):
    """The arguments of ``publish()`` beside the data, for type checkers."""

    type: str | Unset
    channel: Target | Unset
    user: Users | Unset
    session: Target | Unset
    client: Target | Unset
    exclude_client: Target | None
    retry: float | None
    idempotency_key: str | None
    key: str | None
    delete: bool
    ttl: float | Unset | None
    receipt: bool


class PublishesEvents(ABC):
    """The method ``publish()``, the same inside the app and outside it."""

    @overload
    def publish(
        self, data: object, *, after: None = None, **options: Unpack[PublishOptions]
    ) -> str: ...

    @overload
    def publish(
        self,
        data: object,
        *,
        after: Transactional,
        outbox: bool = False,
        **options: Unpack[PublishOptions],
    ) -> PendingEvent: ...

    @explaining("publish(data, type=..., user=..., channel=...)", words=words.PUBLISH)
    def publish(
        self,
        data: object,
        *,
        type: str | Unset = UNSET,
        channel: Target | Unset = UNSET,
        user: Users | Unset = UNSET,
        session: Target | Unset = UNSET,
        client: Target | Unset = UNSET,
        exclude_client: Target | None = None,
        retry: float | None = None,
        idempotency_key: str | None = None,
        key: str | None = None,
        delete: bool = False,
        ttl: float | Unset | None = UNSET,
        receipt: bool = False,
        after: Transactional | None = None,
        outbox: bool = False,
    ) -> str | PendingEvent:
        """Publish an event and return its id.

        Call it anywhere in the app's code: in routes, threads, greenlets and shells.
        Without an app context, an ``SSEHub`` must have exactly one app. For example::

            event_id = sse_hub.publish({"text": "hello"}, type="greeting", user=42)

        Args:
            data: A str is sent as it is and bytes as UTF-8. An ``Event`` has its own
                type and retry, and an instance of a typed event its own type. Anything
                else is serialised as JSON, which has no NaN and no infinities.
            type: The event's type. Left out, it is "message".
            channel: A channel or several. The event goes to the union of all targets.
                Without any target, every connected client receives it; an empty list
                addresses no client.
            user: The id of a user or a user object such as ``current_user``, or
                several.
            session: The id of a session, or several.
            client: The id of a client, or several.
            exclude_client: The id of a client that does not receive the event, or
                several.
            retry: A reconnect delay for the receiving clients, from 0 to 3600 seconds.
            idempotency_key: A second publish with the same key appends nothing and
                returns the first event's id.
            key: The name of a value that the event sets, such as "price:AAPL". The
                newest event of each key and target is kept beyond history, and a client
                with ``?state=1`` begins with it. A client that lags skips the event
                once a newer one has the same key.
            delete: Whether the event ends the value of its ``key``. Clients receive it
                like any other event.
            ttl: For how many seconds the event is of use, from 0 to a week. Afterwards
                no client receives it, and missing it is no gap. With 0, it is only for
                clients that are connected and keep up. None: as long as history keeps
                it. Left out, it is the one of the channel in ``SSE_HUB_TTL``.
            receipt: Whether ``receipts()`` tells to how many streams the event was
                written, and the signal ``event_unheard`` that nobody was there.
            after: A session, scoped session or connection of SQLAlchemy. The event is
                published when its transaction commits, and forgotten when the
                transaction, or the savepoint it was published in, is rolled back.
            outbox: True: the transaction stores the event in the table of the Outbox,
                and a worker appends it to the log exactly once. Needs ``after``.

        Returns:
            The event's id, from which a client can resume. With ``after``, a
            PendingEvent, whose ``id`` is set once the event is in the log.

        Raises:
            InvalidEvent: The data or the delay cannot be encoded for the stream, the
                data does not fit the class of its type, or the ttl is out of its
                range.
            EventTooLarge: The data is longer than ``SSE_HUB_MAX_EVENT_BYTES``.
            InvalidName: A type, channel, key or id is not a usable name.
            InvalidTarget: A target is None or not a name.
            StateFull: The state of keys has no room for the event: there are
                ``SSE_HUB_STATE_KEYS`` keys or ``SSE_HUB_STATE_BYTES`` bytes. Nothing
                was appended.
            InvalidOption: ``after`` is no session or connection, or there is no Outbox.
            BrokerUnavailable: The broker cannot be reached. The outcome is unknown: the
                event may have been appended. Never raised with ``after``.
            TypeError: An argument is unknown, or has no keyword.

        """
        composer, append = self._publishing()
        record = composer.record(
            data,
            type=type,
            channel=channel,
            user=user,
            session=session,
            client=client,
            exclude_client=exclude_client,
            retry=retry,
            idempotency_key=idempotency_key,
            key=key,
            delete=delete,
            ttl=ttl,
            receipt=receipt,
        )
        if after is not None:
            return self._publish_after(after, record, outbox=outbox)
        if outbox:
            raise InvalidOption(
                "outbox=True stores the event in a transaction: pass after=db.session"
                " too"
            )
        return append(record)

    @abstractmethod
    def _publishing(self) -> tuple[Composer, Callable[[Record], str]]:
        """Return the composer of records, and the function that appends a record.

        The function returns the event's id. Implementations raise ConfigurationError if
        there is no log to append to.
        """

    @abstractmethod
    def _publish_after(
        self, after: Transactional, record: Record, *, outbox: bool
    ) -> PendingEvent:
        """Append a record once a transaction commits.

        Implementations raise InvalidOption if ``after`` has no transaction to join, and
        ConfigurationError if there is no log to append to.
        """
