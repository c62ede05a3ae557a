"""A hub that tests move by hand: no threads, no waiting, a clock that stands still."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import Broker, MemoryBroker
from flask_sse_hub.events.address import BROADCAST, Address
from flask_sse_hub.events.record import Cursor, Record, Retention
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.close_reason import CloseReason
from flask_sse_hub.hub.clients.notices import Listeners
from flask_sse_hub.hub.clients.present_client import PresentClient
from flask_sse_hub.hub.hooks.courier import Send
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from flask_sse_hub.hub.presence.announcer import Arrivals
from flask_sse_hub.hub.receipts.clerk import Unheard
from flask_sse_hub.hub.tasks import Tasks
from flask_sse_hub.server.places import PlaceLedger
from flask_sse_hub.testing import Clock
from tests.kit.decoding import decoder
from tests.kit.sse_parser import ParsedEvent, Parser

KEEP_ALL = Retention(events=10_000, seconds=3600.0, bytes=10_000_000)


@dataclass
class HandSink:
    """A sink that counts the calls it receives; the test reads the client itself."""

    delivery_kind: str = "hand"
    writing_since: float | None = None
    takes: bool = False
    woken: int = 0
    cuts: int = 0

    def wake(self) -> None:
        self.woken += 1

    def taking(self) -> bool:
        return self.takes

    def cut(self) -> None:
        self.cuts += 1

    def abandon(self) -> None:
        """Do nothing: there is no connection."""


@dataclass
class HandStream:
    """One client's stream, read as far as possible without waiting."""

    hub: Hub
    client: Client
    sink: HandSink
    parser: Parser = field(default_factory=Parser)
    raw: bytes = b""
    ended: bool = False

    def __post_init__(self) -> None:
        self._decode = decoder(self.client.coding.name)

    def feed(self, chunk: bytes) -> list[ParsedEvent]:
        text = self._decode(chunk)
        self.raw += text
        events = self.parser.feed(text)
        assert not self.parser.empty_blocks, "a blank line ended a block without data"
        return events

    def read(self) -> list[ParsedEvent]:
        """Return the events that can be read now."""
        events: list[ParsedEvent] = []
        while chunk := self.hub.take(self.client):
            events += self.feed(chunk)
        if chunk is None:
            self.ended = True
            events += self.feed(self.hub.farewell(self.client))
        return events

    def data(self) -> list[str]:
        """Return the data of the app's own events that can be read now."""
        return [event.data for event in self.read() if event.type == "message"]

    @property
    def last_event_id(self) -> str:
        return self.parser.last_event_id

    def drop(self) -> str:
        """Leave as a dropped connection does; return the id to resume from."""
        self.hub.leave(self.client, CloseReason.CLIENT_GONE)
        return self.last_event_id


class NoTasks(Tasks):
    """The tasks of a hub that no thread runs: the test does what they would do."""

    def start(self, *, failed: Callable[[], None]) -> None:
        """Start nothing."""


class HandHub:
    """One worker's hub without its threads; ``bring()`` does their work."""

    def __init__(
        self,
        broker: Broker | None = None,
        *,
        memory: Retention = KEEP_ALL,
        listeners: Listeners | None = None,
        places: PlaceLedger | None = None,
        arrivals: Arrivals | None = None,
        unheard: Unheard | None = None,
        hooks: Mapping[str, Send] | None = None,
        clock: Clock | None = None,
        begun: bool = True,
        time_of_day: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        self.clock = clock or Clock()
        self.broker = broker or MemoryBroker(KEEP_ALL)
        #: The parts of the hub, for tests of one of them.
        self.parts = Parts(
            self.broker,
            HubOptions(memory=memory, **options),
            listeners=listeners,
            arrivals=arrivals,
            unheard=unheard,
            hooks=hooks,
            places=places,
            clock=self.clock,
            time_of_day=time_of_day,
        )
        self.hub = Hub(self.parts, tasks=NoTasks(), patience=0.0)
        self._opened = 0
        if begun:
            self.begin()

    def begin(self) -> None:
        """Fill the memory from the log, as a follower does once the broker is there."""
        assert self.parts.follower.fill()

    @property
    def position(self) -> Cursor:
        return self.parts.progress.position

    def publish(
        self, data: str = "", *, to: Address = BROADCAST, **options: Any
    ) -> str:
        """Append an event to the log, without fanning it out yet."""
        return str(self.hub.publish(Record((to,), Event(data), **options)))

    def follow(self) -> None:
        """Let the follower read the new records, without fanning them out."""
        follower = self.parts.follower
        while self.broker.head() != follower.cursor:
            assert follower.take()

    def bring(self) -> None:
        """Let the follower and the dispatcher do all their work."""
        self.follow()
        while self.parts.writer.step() or self.parts.writer.read_waiting():
            pass
        self.parts.notices.tell_waiting()
        self.parts.notices.log_waiting()

    def open(
        self,
        *,
        last_event_id: str | None = None,
        user: str | None = None,
        session: str | None = None,
        since: Cursor | None = None,
        client_id: str | None = None,
        delivery_kind: str = HandSink.delivery_kind,
        **options: Any,
    ) -> tuple[HandStream, list[ParsedEvent]]:
        """Open a stream; return it with the events of its first bytes."""
        self._opened += 1
        sink = HandSink(delivery_kind)
        make = PresentClient if "seats" in options else Client
        client = make(
            client_id or f"client-{self._opened}",
            identity=Identity(user, session),
            since=since or self.broker.head(),
            sink=sink,
            **options,
        )
        stream = HandStream(self.hub, client, sink)
        greeting = self.hub.connect(client, last_event_id=last_event_id)
        return stream, stream.feed(greeting)

    def stream(self, **options: Any) -> HandStream:
        """Open a stream and discard its greeting."""
        stream, _ = self.open(**options)
        return stream


def fields(event: ParsedEvent) -> dict[str, Any]:
    """Return an event's JSON data."""
    found: dict[str, Any] = json.loads(event.data)
    return found


def types(events: list[ParsedEvent]) -> list[str]:
    return [event.type for event in events]


def numbered(hub: HandHub, count: int, **options: Any) -> Iterator[str]:
    """Publish events whose data is 0, 1, 2, ... and yield their ids."""
    for number in range(count):
        yield hub.publish(str(number), **options)


class FlakyBroker(MemoryBroker):
    """A memory broker whose reads can be made to fail."""

    away = False

    def head(self) -> Cursor:
        self._check()
        return super().head()

    def replay(self, after: Cursor, **options: Any) -> Any:
        self._check()
        return super().replay(after, **options)

    def _check(self) -> None:
        if self.away:
            raise BrokerUnavailable("away")


class DuringReplay(MemoryBroker):
    """A memory broker that calls ``during`` in the middle of each replay."""

    during: Any = None

    def replay(self, after: Cursor, **options: Any) -> Any:
        replay = super().replay(after, **options)
        if self.during is not None:
            self.during()
        return replay


class DuringHead(MemoryBroker):
    """A memory broker that calls ``during`` once, after it has read its head."""

    during: Any = None

    def head(self) -> Cursor:
        found = super().head()
        during, self.during = self.during, None
        if during is not None:
            during()
        return found
