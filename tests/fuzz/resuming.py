"""``Last-Event-ID``: with any id, a stream opens and begins at the right place."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

from flask_sse_hub.events.record import Cursor
from tests.conftest import Browser, Site
from tests.fuzz.edits import Edit, edited, edits
from tests.fuzz.engine import Check, Target
from tests.fuzz.strategies import mostly
from tests.kit.sse_parser import ParsedEvent, Parser

#: Number of events that the broker retains; a worker's memory may reach back further.
_KEPT = 50


class Id(NamedTuple):
    """An id with placeholders for the log's epoch and offsets, and later changes."""

    text: str
    changes: list[Edit]


class Asked(NamedTuple):
    """The ids from which a stream asks to resume."""

    header: Id | None
    query: Id | None


class Log:
    """A log that grows, and a client that listens to it."""

    def __init__(self, site: Site, browser: Browser) -> None:
        self._site = site
        self._browser = browser
        self._events: list[ParsedEvent] = []
        for _ in range(_KEPT):
            self.publish()
        # After this stream, the worker is at the head whenever another one opens.
        self.listen("/events", {})

    def publish(self) -> str:
        """Publish an event for every client, after one for another user."""
        self._site.hub.publish("nobody else's", user="bob")
        event_id = self._site.hub.publish("everybody's")
        self._events.append(ParsedEvent("message", "everybody's", event_id))
        return event_id

    @property
    def head(self) -> Cursor:
        return place(self._events[-1].id)

    def filled(self, asked: Id) -> bytes:
        """Return an id with its placeholders filled in from this log."""
        text = asked.text.replace("@epoch", self.head.epoch)
        text = re.sub(
            "@back(-?[0-9]+)", lambda back: str(self.head.offset - int(back[1])), text
        )
        return edited(text.encode(errors="surrogatepass"), asked.changes)

    def after(self, offset: int) -> list[ParsedEvent]:
        """Return the events that the client must receive after an offset."""
        return [event for event in self._events if place(event.id).offset > offset]

    def listen(self, url: str, headers: dict[str, str]) -> list[ParsedEvent]:
        """Open a stream, publish an event, and return all events up to it."""
        response = self._browser.get(url, headers=headers)
        assert response.status_code == 200, response.status_code
        try:
            parser = Parser()
            chunks = iter(response.response)
            events = parser.feed(next(chunks))
            last = self.publish()
            while last not in (event.id for event in events):
                events += parser.feed(next(chunks))
            return events
        finally:
            response.close()


def check(log: Log, asked: Asked) -> str:
    """Connect with ids, and compare the received events with the log after them."""
    url, headers = "/events", {}
    header = query = ""
    if asked.query is not None:
        raw = log.filled(asked.query)
        url, query = f"{url}?last_event_id={quote(raw)}", raw.decode(errors="replace")
    if asked.header is not None:
        header = re.sub("[\r\n]", "", log.filled(asked.header).decode("latin-1"))
        headers["Last-Event-ID"] = header
    head = log.head
    connected, *events = log.listen(url, headers)
    begun = json.loads(connected.data)
    assert connected.type == "connected"
    asked_for = header or query
    reasons = _reasons(asked_for, head)
    start = place(asked_for) if begun["resumed"] else head
    if asked_for:
        # The client's own id, until it has received what it is owed.
        own = Cursor.parse(asked_for)
        assert connected.id == (asked_for if own else "malformed")
    else:
        assert place(connected.id) == start
    whole = log.after(start.offset)
    resets = [at for at, event in enumerate(events) if event.type == "reset"]
    if not resets:
        assert None in reasons
        assert begun["resumed"] is bool(asked_for)
        assert events == whole
        return "resumed" if asked_for else "new"
    # The log may be trimmed during a replay: the reset then follows a correct part.
    (at,) = resets
    reason = json.loads(events[at].data)["reason"]
    assert reason in reasons
    # Two events were published meanwhile, and each comes before the reset or after it.
    told = place(events[at].id)
    assert told.epoch == head.epoch
    assert head.offset <= told.offset <= log.head.offset
    assert events[:at] == (whole[:at] if begun["resumed"] else [])
    assert events[at + 1 :] == log.after(told.offset)
    return str(reason)


def place(event_id: str) -> Cursor:
    """Return the cursor that an id of this log stands for."""
    epoch, _, offset = event_id.partition("-")
    return Cursor(epoch, int(offset))


def _reasons(event_id: str, head: Cursor) -> set[str | None]:
    """Return the possible reasons of a reset; None if there may be no reset."""
    if not event_id:
        return {None}
    epoch, hyphen, offset = event_id.partition("-")
    if not (
        hyphen
        and 1 <= len(epoch) <= 32
        and set(epoch) <= set("abcdefghijklmnopqrstuvwxyz0123456789")
        and 1 <= len(offset) <= 18
        and set(offset) <= set("0123456789")
        and (offset == "0" or offset[0] != "0")
    ):
        return {"malformed"}
    if epoch != head.epoch:
        return {"epoch"}
    if int(offset) > head.offset:
        return {"ahead"}
    return {None} if int(offset) >= head.offset - _KEPT else {None, "expired"}


_genuine = st.integers(-3, 2 * _KEPT).map("@epoch-@back{}".format)
_alike = st.one_of(
    st.from_regex("[0-9a-z]{1,33}-[0-9]{1,19}", fullmatch=True),
    st.text(st.sampled_from("0123456789-+_ \u0661\u00b2"), max_size=20).map(
        "@epoch-{}".format
    ),
    st.integers().map("@epoch-{}".format),
    st.text(),
)
_ids = st.builds(Id, mostly(_genuine, _alike), mostly(st.just([]), edits))


@contextmanager
def _prepare() -> Iterator[Check]:
    site = Site(history_events=_KEPT)
    try:
        log = Log(site, site.browser("alice"))
        yield lambda asked: check(log, asked)
    finally:
        site.close()


TARGET = Target(
    "Last-Event-ID", st.builds(Asked, st.none() | _ids, st.none() | _ids), _prepare
)
