"""The events that an app has published, read from the log. No stream has to be open.

Knows the broker's contract. Does not know which clients would receive an event.
"""

import json
from dataclasses import dataclass
from typing import Any, Self, TypedDict, Unpack

from flask import Flask

from ..errors import EventMissing
from ..events import address, words
from ..events.address import BROADCAST, UNSET, Address, Target, Unset, Users
from ..events.event import Event
from ..events.record import Record
from ..runtime.arguments import explaining
from .hubs import state_of
from .listing import listed
from .naming import Types, type_names

_PAGE = 1_000


class Asked(TypedDict, total=False):
    """The arguments of ``Published.events()``, for type checkers."""

    type: Types
    everyone: bool
    channel: Target | Unset
    user: Users | Unset
    session: Target | Unset
    client: Target | Unset


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event as it is in the log.

    ``target`` is "everyone", or the names by their kind: ``{"user": ["42"]}``.
    ``exclude_clients`` are the ids of clients that do not receive it. ``time`` is in
    seconds since 1970, ``retry`` in seconds. ``key`` is the key of which the event is
    the value, or the end if ``deleted``. ``ttl`` is for how many seconds it is of use.
    ``receipt`` tells whether it asks for a receipt.
    """

    type: str
    data: str
    id: str
    target: dict[str, list[str]] | str
    exclude_clients: tuple[str, ...]
    retry: float | None
    time: float
    key: str | None = None
    deleted: bool = False
    ttl: float | None = None
    receipt: bool = False

    @classmethod
    def of(cls, record: Record, event: Event) -> Self:
        """Return a record of the log and its event in a readable form."""
        return cls(
            type=event.type,
            data=event.data,
            id=str(record.cursor),
            target=address.names_of(record.addresses),
            exclude_clients=record.exclude,
            retry=event.retry,
            time=record.time,
            key=record.key,
            deleted=record.deletes,
            ttl=record.ttl,
            receipt=record.receipt,
        )

    def json(self) -> Any:
        """Return the data, decoded from JSON. Raises ValueError if it is not JSON."""
        return json.loads(self.data)


class Published:
    """The events that are published to an app's log from now on.

    It does not matter how they are published. Works with every broker, as far back as
    its log reaches. Events in the outbox are passed on first. For example::

        published = Published(app)
        app.test_client().post("/orders/7/ship")
        assert published.one(type="shipped", user=42).json() == {"number": 7}
        assert published.events(everyone=True) == []
        published.clear()

    Args:
        app: The app with the hub.

    """

    def __init__(self, app: Flask) -> None:
        self._state = state_of(app)
        self.clear()

    def clear(self) -> None:
        """Forget the events that were published so far."""
        self._state.after_commit.pass_on()
        self._since = self._state.broker.head()

    @explaining("events(type=..., user=..., channel=...)", words=words.PUBLISH)
    def events(
        self,
        *,
        type: Types = None,
        everyone: bool = False,
        channel: Target | Unset = UNSET,
        user: Users | Unset = UNSET,
        session: Target | Unset = UNSET,
        client: Target | Unset = UNSET,
    ) -> list[PublishedEvent]:
        """Return the published events that match all arguments, oldest first.

        Without arguments, all events match.

        Args:
            type: The type of the event or several, or the class of a typed event.
            everyone: True: only broadcasts match. They have no other target.
            channel: The event is addressed to this channel, or to all of these.
            user: The event is addressed to this user, or to all of these.
            session: The event is addressed to this session, or to all of these.
            client: The event is addressed to this client, or to all of these.

        Returns:
            The events. An event may have more targets than were asked for.

        Raises:
            EventMissing: The log no longer holds all events since the beginning or the
                last clear().
            InvalidTarget: A target is invalid, as for ``publish()``.
            InvalidName: A name is invalid, as for ``publish()``.

        """
        names = type_names(type, self._state.app)
        asked = any(each is not UNSET for each in (channel, user, session, client))
        wanted: set[Address] = {BROADCAST} if everyone else set()
        if asked:
            wanted |= set(
                address.target(
                    channel=channel, user=user, session=session, client=client
                )
            )
        return [
            PublishedEvent.of(record, record.content)
            for record in self._records()
            if isinstance(record.content, Event)
            and not record.is_of_workers
            and wanted <= set(record.addresses)
            and (names is None or record.content.type in names)
        ]

    def one(self, **asked: Unpack[Asked]) -> PublishedEvent:
        """Return the only event that matches.

        Args:
            **asked: The arguments of ``events()``.

        Raises:
            EventMissing: No event matches, or more than one. The text lists the
                published events.

        """
        found = self.events(**asked)
        if len(found) == 1:
            return found[0]
        how = "".join(f", {name}={value!r}" for name, value in asked.items())
        raise EventMissing(
            f"expected one event, but {len(found)} were published{how}; all published"
            f" events:{_listed(self.events())}"
        )

    def __repr__(self) -> str:
        return f"<Published:{_listed(self.events())}>"

    def _records(self) -> list[Record]:
        self._state.after_commit.pass_on()
        broker = self._state.broker
        after, found = self._since, list[Record]()
        while after != broker.head():
            replay = broker.replay(after, page=_PAGE)
            if replay.gap is not None:
                raise EventMissing(
                    "the log no longer holds all events since the beginning or the last"
                    f" clear() ({replay.gap}): more were published than"
                    " SSE_HUB_HISTORY_EVENTS, or the hub was replaced; call clear() in"
                    " between"
                )
            found += replay.records
            after = replay.cursor
        return found


def _listed(events: list[PublishedEvent]) -> str:
    return listed((f"{each.type} to {each.target}", each) for each in events)
