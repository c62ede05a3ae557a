"""Some users with open streams, and a literal rule for the events of each."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.conftest import Browser, Site
from tests.kit.sse_parser import ParsedEvent, Parser

KINDS = ("channel", "user", "session", "client")

#: The users who listen, and their channels. Names of one kind are also names of other
#: kinds, and look like the inner form of other kinds of addresses.
PEOPLE = [
    ("alice", ["orders.1", "bob"]),
    ("alice", ["news", "u:alice"]),
    ("bob", ["alice", "c:news"]),
    ("7", ["7", "orders.*"]),
    ("news", []),
    ("u:alice", ["orders.2", "everyone", "orders.*"]),
    ("*", ["i:", "s:"]),
]

#: The names of all users and channels.
NAMES = sorted({name for user, channels in PEOPLE for name in (user, *channels)})

#: Placeholders for ids that each hub draws: a case writes ``@session3``.
OWN = [f"@{kind}{at}" for kind in ("session", "client") for at in range(len(PEOPLE))]


class Published(NamedTuple):
    """An event as its publisher meant it; an empty target means every client."""

    id: str
    type: str
    data: str
    target: Mapping[str, Any]
    exclude: Any = ()


class Listener:
    """One open stream."""

    def __init__(self, browser: Browser, user: str, channels: Sequence[str]) -> None:
        page = browser.page()
        self._response = browser.get(
            "/events",
            query_string={"channel": channels, "client_id": page["client"]},
        )
        assert self._response.status_code == 200, self._response.text
        self._chunks = iter(self._response.response)
        self._parser = Parser()
        self._arrived: list[ParsedEvent] = []
        self.names = {
            "channel": set(channels),
            "user": {user},
            "session": {page["session"]},
            "client": {page["client"]},
        }

    def close(self) -> None:
        self._response.close()

    def until(self, event_id: str) -> list[ParsedEvent]:
        """Return the events that arrive before a broadcast event."""
        while event_id not in (event.id for event in self._arrived):
            self._arrived += self._parser.feed(next(self._chunks))
        at = [event.id for event in self._arrived].index(event_id)
        before, self._arrived = self._arrived[:at], self._arrived[at + 1 :]
        return [event for event in before if event.type not in {"connected", "ping"}]

    def is_meant(self, event: Published) -> bool:
        """Return whether this stream is meant to receive an event."""
        if self.names["client"] & _texts(event.exclude):
            return False
        return not event.target or any(
            self._hears(kind, name)
            for kind, names in event.target.items()
            for name in _texts(names)
        )

    def _hears(self, kind: str, name: str) -> bool:
        mine = self.names[kind]
        is_below = kind == "channel" and "orders.*" in mine
        return name in mine or (is_below and name.startswith("orders."))


class Population:
    """All listeners, on one hub."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.hub.authorize_channel(lambda user, channel: True)
        self._listeners = [
            Listener(site.browser(user), user, channels) for user, channels in PEOPLE
        ]
        self._own = {
            f"@{kind}{at}": next(iter(listener.names[kind]))
            for at, listener in enumerate(self._listeners)
            for kind in ("session", "client")
        }

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()

    def begin(self) -> None:
        """Forget the used idempotency keys, so that each case can be repeated."""
        self.site.app.extensions["sse_hub"].hub.broker._keys.clear()

    def filled(self, text: str) -> str:
        """Return a text with its placeholders replaced by ids."""
        return re.sub(r"@(session|client)\d", self._id, text)

    def _id(self, match: re.Match[str]) -> str:
        return self._own.get(match[0], match[0])

    def expect(self, events: Iterable[Published]) -> None:
        """Check that every listener receives exactly its events, in order."""
        events = list(events)
        fence = self.site.hub.publish("")
        # All streams are read before any check, so that the next case starts clean.
        arrived = [listener.until(fence) for listener in self._listeners]
        for listener, got in zip(self._listeners, arrived, strict=True):
            meant = [
                ParsedEvent(event.type, event.data, event.id)
                for event in events
                if listener.is_meant(event)
            ]
            assert got == meant, listener.names


@contextmanager
def populated(**settings: Any) -> Iterator[Population]:
    """Make a hub with its listeners; their streams are closed at the end."""
    site = Site(**settings)
    try:
        people = Population(site)
        try:
            yield people
        finally:
            people.close()
    finally:
        site.close()


def seen(text: str) -> str:
    """Return data as a browser shows it, with all line ends the same."""
    return re.sub("\r\n|\r", "\n", text)


def _texts(names: Any) -> set[str]:
    """Return one or several names as a set of the texts that are compared."""
    listed = names if isinstance(names, list | tuple) else [names]
    return {str.__str__(n) if isinstance(n, str) else str(n) for n in listed}
