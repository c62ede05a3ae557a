"""What clients and publishers were told, compared with the log.

Pure: a log and what was received go in, faults come out. Does not know how either was
brought about.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter

from tests.chaos.log import Entry, Log
from tests.sse_parser import ParsedEvent

# Enough of an event's data to find it again.
_SHOWN = 60

_PUBLISHER = "a publisher"


class Kind(StrEnum):
    """Each way in which a promise can be broken."""

    LOST = "lost"
    DOUBLED = "doubled"
    OUT_OF_ORDER = "out of order"
    #: Addressed to others, or from before the client came.
    FOREIGN = "foreign"
    WRONG_DATA = "wrong data"
    FALSE_RESET = "false reset"
    #: Answered so that a browser's EventSource never comes back.
    TURNED_AWAY = "turned away for good"
    #: A client or a publisher was given an id that is not in the log.
    UNKNOWN_ID = "id that is not in the log"
    #: One publish call that the log holds more than once.
    APPENDED_TWICE = "appended twice"


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken promise: to whom, about which id, and what there is to see."""

    kind: Kind
    who: str
    id: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.who}: {self.kind}: {self.id} {self.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Part:
    """One client's part of the log, and what it received of it, in order.

    It is to get what is addressed to it after the id ``started``, up to and with the id
    ``stopped``; what it received after that is not judged. ``resets`` holds the id of
    each ``reset``: the log is whole, so it never has a reason for one. ``turned_away``
    holds each answer that was no stream.
    """

    who: str
    client_id: str
    addresses: frozenset[str]
    started: str
    stopped: str
    received: tuple[ParsedEvent, ...]
    resets: tuple[str, ...] = ()
    turned_away: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """One publish call: its data, which no other has, and the id that it returned.

    The id is None where the call failed: then it is unknown whether it was appended.
    """

    data: str
    id: str | None


def faults_of_clients(log: Log, parts: Iterable[Part]) -> list[Fault]:
    """Return how far what each client received is not exactly its part of the log."""
    return [fault for part in parts for fault in _faults_of(part, log)]


def faults_of_publishers(log: Log, published: Iterable[Published]) -> list[Fault]:
    """Return how far the log does not hold what publish calls said that it holds."""
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


def _faults_of(part: Part, log: Log) -> Iterator[Fault]:
    for reset in part.resets:
        yield Fault(Kind.FALSE_RESET, part.who, reset)
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
    for entry in expected:
        if entry.place not in seen:
            shown = repr(entry.data[:_SHOWN])
            yield Fault(Kind.LOST, part.who, entry.id, shown)


def _judged(
    part: Part, log: Log, expected: Mapping[int, Entry]
) -> Iterator[tuple[int, Fault | None]]:
    """Yield the place of each event received, with what is wrong with it."""
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


def _wrong(who: str, told: str, data: str, entry: Entry) -> Fault:
    detail = f"{data[:_SHOWN]!r}, in the log {entry.data[:_SHOWN]!r}"
    return Fault(Kind.WRONG_DATA, who, told, detail)


def _place(log: Log, event_id: str) -> int:
    """Return the place of an id, -1 if it has none: before all that is in the log."""
    place = log.place(event_id)
    return -1 if place is None else place


def _between(log: Log, after: int, upto: int) -> tuple[Entry, ...]:
    by_place = attrgetter("place")
    first = bisect_right(log.entries, after, key=by_place)
    return log.entries[first : bisect_right(log.entries, upto, key=by_place)]


def _concerns(entry: Entry, part: Part) -> bool:
    return (
        not entry.is_control
        and not part.addresses.isdisjoint(entry.addresses)
        and part.client_id not in entry.exclude
    )
