"""What an app has published, read from the log itself: no stream has to be open.

Knows the broker's contract; not who would have received an event.
"""

import json
from dataclasses import dataclass
from typing import Any, Self, TypedDict, Unpack

from flask import Flask

from ..errors import EventMissing
from ..events import address
from ..events.address import BROADCAST, UNSET, Address, Names, Unset
from ..events.event import Event
from ..events.record import Record
from .hubs import state_of
from .listing import listed

_PAGE = 1_000


class Asked(TypedDict, total=False):
    """What events are asked for by, for type checkers."""

    type: str | None
    everyone: bool
    channel: Names | Unset
    user: Names | Unset
    session: Names | Unset
    client: Names | Unset


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event as it is in the log.

    ``target`` is "everyone", or the names by their kind: ``{"user": ["42"]}``.
    ``exclude_clients`` are the ids of those left out; ``time`` is in seconds since
    1970.
    """

    type: str
    data: str
    id: str
    target: dict[str, list[str]] | str
    exclude_clients: tuple[str, ...]
    retry: float | None
    time: float

    @classmethod
    def of(cls, record: Record, event: Event) -> Self:
        """Return what a record says, for people."""
        return cls(
            type=event.type,
            data=event.data,
            id=str(record.cursor),
            target=address.names_of(record.addresses),
            exclude_clients=record.exclude,
            retry=event.retry,
            time=record.time,
        )

    def json(self) -> Any:
        """Return what the data is in JSON; raises ValueError where it is none."""
        return json.loads(self.data)


class Published:
    """What is published to an app's log from now on, by whatever way.

    Reads the log of any broker, as far as it is retained.
    """

    def __init__(self, app: Flask) -> None:
        self._state = state_of(app)
        self.clear()

    def clear(self) -> None:
        """Forget what was published so far."""
        self._since = self._state.broker.head()

    def events(
        self,
        *,
        type: str | None = None,
        everyone: bool = False,
        channel: Names | Unset = UNSET,
        user: Names | Unset = UNSET,
        session: Names | Unset = UNSET,
        client: Names | Unset = UNSET,
    ) -> list[PublishedEvent]:
        """Return the events of a type, and addressed to all of these, oldest first.

        What nothing is said about does not matter; ``everyone`` is for broadcasts,
        which are addressed to no user in particular. Raises EventMissing where the log
        no longer has all of them, and InvalidTarget and InvalidName as publish() does.
        """
        asked = any(names is not UNSET for names in (channel, user, session, client))
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
            and wanted <= set(record.addresses)
            and type in (None, record.content.type)
        ]

    def one(self, **asked: Unpack[Asked]) -> PublishedEvent:
        """Return the only event that events() would.

        Raises EventMissing where there is none or more, and tells what was published.
        """
        found = self.events(**asked)
        if len(found) == 1:
            return found[0]
        how = "".join(f", {name}={value!r}" for name, value in asked.items())
        raise EventMissing(
            f"not one event but {len(found)} were published{how}; all there are:"
            f"{_listed(self.events())}"
        )

    def __repr__(self) -> str:
        return f"<Published:{_listed(self.events())}>"

    def _records(self) -> list[Record]:
        broker = self._state.broker
        after, found = self._since, list[Record]()
        while after != broker.head():
            replay = broker.replay(after, page=_PAGE)
            if replay.gap is not None:
                raise EventMissing(
                    f"the log does not reach back to where this began ({replay.gap}):"
                    " more was published than SSE_HUB_HISTORY_EVENTS, or the hub was"
                    " replaced; call clear() in between"
                )
            found += replay.records
            after = replay.cursor
        return found


def _listed(events: list[PublishedEvent]) -> str:
    return listed((f"{each.type} to {each.target}", each) for each in events)
