"""Compares the events, values and ids of clients and publishers with the log.

It is pure: a log and the received events go in, faults come out. It does not know how
either came about.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter

from tests.chaos.log import Entry, Log
from tests.kit.sse_parser import ParsedEvent

# The part of an event's data that a report shows, enough to find the event.
_SHOWN = 60

_PUBLISHER = "a publisher"


class Kind(StrEnum):
    """Each way in which a promise can be broken."""

    LOST = "lost"
    DOUBLED = "doubled"
    OUT_OF_ORDER = "out of order"
    #: An event for others, or from before the client connected.
    FOREIGN = "foreign"
    WRONG_DATA = "wrong data"
    #: A reset of a client that had lost nothing.
    FALSE_RESET = "false reset"
    #: A page does not show the last value of a key.
    WRONG_VALUE = "not the last value"
    #: An answer after which a browser's EventSource never reconnects.
    TURNED_AWAY = "turned away for good"
    #: A client or a publisher received an id that is not in the log.
    UNKNOWN_ID = "id that is not in the log"
    #: The log holds one publish call more than once.
    APPENDED_TWICE = "appended twice"


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken promise: the client or publisher, the id, and the details."""

    kind: Kind
    who: str
    id: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.who}: {self.kind}: {self.id} {self.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Reset:
    """One ``reset``: the ids from which and at which the client goes on, and when.

    ``upto`` is empty if the stream ended before the client had a new id. The client
    then comes back with its old id, and is reset again.
    """

    after: str
    upto: str
    time: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One client's part of the log, and the events that it received, in order.

    It must receive each event to its addresses after the id ``started``, up to and
    including the id ``stopped``; later events are not judged. It may have missed the
    events that it was told by a reset to be lost, and those with a key that has a later
    one. ``turned_away`` holds each answer that was not a stream.

    ``shown`` has the last value of each channel and key on the page of a client that
    asked for the state. All events of one name must have the same addresses: a page
    could not tell others apart.
    """

    who: str
    client_id: str
    addresses: frozenset[str]
    started: str
    stopped: str
    received: tuple[ParsedEvent, ...]
    resets: tuple[Reset, ...] = ()
    turned_away: tuple[str, ...] = ()
    shown: Mapping[tuple[str, str], str] | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """One publish call: its unique data, and the id that it returned.

    The id is None if the call failed: the event may then be in the log or not.
    """

    data: str
    id: str | None


def faults_of_clients(log: Log, parts: Iterable[Part]) -> list[Fault]:
    """Return each difference between the received events and the clients' parts."""
    replaced = _replaced(log)
    return [fault for part in parts for fault in _faults_of(part, log, replaced)]


def faults_of_values(log: Log, parts: Iterable[Part]) -> list[Fault]:
    """Return each difference between the pages of the clients and the last values."""
    return [fault for part in parts for fault in _wrong_values(part, log)]


def faults_of_publishers(log: Log, published: Iterable[Published]) -> list[Fault]:
    """Return each difference between the log and the results of publish calls."""
    at = {entry.place: entry for entry in log.entries}
    times = Counter(entry.data for entry in log.entries if not entry.is_control)
    faults = []
    for call in published:
        told = call.id or "no id"
        entry = at.get(_place(log, told))
        shown = repr(call.data[:_SHOWN])
        if call.id is not None and entry is None:
            faults.append(Fault(Kind.UNKNOWN_ID, _PUBLISHER, told, shown))
        elif entry is not None and entry.data != call.data:
            faults.append(_wrong(_PUBLISHER, told, call.data, entry))
        if times[call.data] > 1:
            faults.append(Fault(Kind.APPENDED_TWICE, _PUBLISHER, told, shown))
    return faults


def _faults_of(
    part: Part, log: Log, replaced: Mapping[tuple[str, str], int]
) -> Iterator[Fault]:
    for status in part.turned_away:
        yield Fault(Kind.TURNED_AWAY, part.who, "", status)
    for end in (part.started, part.stopped):
        if _place(log, end) < 0:
            yield Fault(Kind.UNKNOWN_ID, part.who, end, "as an end of its part")
            return
    after, upto = _place(log, part.started), _place(log, part.stopped)
    expected = [e for e in _between(log, after, upto) if _concerns(e, part)]
    seen = set()
    for place, fault in _judged(part, log, {entry.place: entry for entry in expected}):
        seen.add(place)
        if fault is not None:
            yield fault
    yield from _false_resets(part, log, seen)
    for entry in expected:
        if entry.place not in seen and not (
            _is_told(entry, part, log) or _is_old(entry, part, replaced)
        ):
            shown = repr(entry.data[:_SHOWN])
            yield Fault(Kind.LOST, part.who, entry.id, shown)


def _false_resets(part: Part, log: Log, seen: Container[int]) -> Iterator[Fault]:
    """Yield the resets before which the log had trimmed nothing that was missing.

    An event that excludes the client is addressed to it all the same.
    """
    for reset in part.resets:
        trimmed = _between(log, _place(log, reset.after), log.floor_at(reset.time) - 1)
        if not any(
            _is_addressed(entry, part) and entry.place not in seen for entry in trimmed
        ):
            yield Fault(Kind.FALSE_RESET, part.who, reset.after, reset.reason)


def _is_told(entry: Entry, part: Part, log: Log) -> bool:
    """Tell whether a reset has told the client that the entry may be lost."""
    return any(
        _place(log, reset.after) < entry.place <= _place(log, reset.upto)
        for reset in part.resets
    )


def _is_old(entry: Entry, part: Part, replaced: Mapping[tuple[str, str], int]) -> bool:
    """Tell whether the log has a later value for each address of the client."""
    return entry.key is not None and all(
        replaced[each, entry.key] > entry.place
        for each in entry.addresses & part.addresses
    )


def _replaced(log: Log) -> dict[tuple[str, str], int]:
    """Return the place of the last entry of each address and key."""
    return {
        (address, entry.key): entry.place
        for entry in log.entries
        if entry.key is not None
        for address in entry.addresses
    }


def _wrong_values(part: Part, log: Log) -> Iterator[Fault]:
    if part.shown is None:
        return
    upto = _place(log, part.stopped)
    last = {
        entry.name: entry
        for entry in log.entries
        if entry.key is not None and _is_addressed(entry, part)
    }
    for name in last.keys() | part.shown.keys():
        entry, shown = last.get(name), part.shown.get(name)
        if entry is None:
            yield Fault(Kind.WRONG_VALUE, part.who, "", f"{name}: {_short(shown)}")
        elif entry.place <= upto and part.client_id not in entry.exclude:
            # A client that is excluded knows the value before it is published.
            expected = None if entry.deletes else entry.data
            if shown != expected:
                detail = f"{name}: {_short(shown)}, in the log {_short(expected)}"
                yield Fault(Kind.WRONG_VALUE, part.who, entry.id, detail)


def _judged(
    part: Part, log: Log, expected: Mapping[int, Entry]
) -> Iterator[tuple[int, Fault | None]]:
    """Yield the place of each received event, and its fault or None."""
    known = {entry.place for entry in log.entries}
    upto = _place(log, part.stopped)
    seen: set[int] = set()
    newest = -1
    for got in part.received:
        place = _place(log, got.id)
        shown = repr(got.data[:_SHOWN])
        fault = None
        if place > upto:
            continue
        if place not in known:
            fault = Fault(Kind.UNKNOWN_ID, part.who, got.id, shown)
        elif place not in expected:
            fault = Fault(Kind.FOREIGN, part.who, got.id, shown)
        elif place in seen:
            fault = Fault(Kind.DOUBLED, part.who, got.id, shown)
        elif place < newest:
            fault = Fault(Kind.OUT_OF_ORDER, part.who, got.id, shown)
        elif got.data != expected[place].data:
            fault = _wrong(part.who, got.id, got.data, expected[place])
        seen.add(place)
        newest = max(newest, place)
        yield place, fault


def _short(value: str | None) -> str:
    return "no value" if value is None else repr(value[:_SHOWN])


def _wrong(who: str, told: str, data: str, entry: Entry) -> Fault:
    detail = f"{data[:_SHOWN]!r}, in the log {entry.data[:_SHOWN]!r}"
    return Fault(Kind.WRONG_DATA, who, told, detail)


def _place(log: Log, event_id: str) -> int:
    """Return the place of an id, or -1 (before the whole log) if it has none."""
    place = log.place(event_id)
    return -1 if place is None else place


def _between(log: Log, after: int, upto: int) -> tuple[Entry, ...]:
    by_place = attrgetter("place")
    first = bisect_right(log.entries, after, key=by_place)
    return log.entries[first : bisect_right(log.entries, upto, key=by_place)]


def _concerns(entry: Entry, part: Part) -> bool:
    return _is_addressed(entry, part) and part.client_id not in entry.exclude


def _is_addressed(entry: Entry, part: Part) -> bool:
    return not entry.is_control and not part.addresses.isdisjoint(entry.addresses)
