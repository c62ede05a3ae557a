"""The checker finds every planted fault, and none in a good run."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.chaos.checker import (
    Fault,
    Kind,
    Part,
    Published,
    Reset,
    faults_of_clients,
    faults_of_publishers,
    faults_of_values,
)
from tests.chaos.log import Entry, Floor, Log
from tests.chaos.shown import Shown
from tests.kit.sse_parser import ParsedEvent


def entry(place: int, *to: str, exclude: str = "", control: bool = False) -> Entry:
    return Entry(
        place=place,
        id=f"now-{place}",
        data="" if control else f"event {place}",
        addresses=frozenset(to),
        exclude=frozenset({exclude} - {""}),
        is_control=control,
    )


#: The log; GOOD is the part of alice, who listens to the channel news.
LOG = Log(
    (
        entry(1, "*"),
        entry(2, "*"),
        entry(3, "u:alice", "c:news"),
        entry(4, "u:bob"),
        entry(5, "*", exclude="hers"),
        entry(6, "u:alice", control=True),
        entry(7, "c:news"),
        entry(8, "c:sport"),
        entry(9, "*"),
        entry(10, "*"),
    ),
    {"before": 3, "now": 10},
)


def received(event_id: str, data: str) -> ParsedEvent:
    return ParsedEvent("message", data, event_id)


def got(*places: int) -> tuple[ParsedEvent, ...]:
    return tuple(received(f"now-{place}", f"event {place}") for place in places)


GOOD = Part(
    who="alice",
    client_id="hers",
    addresses=frozenset({"*", "u:alice", "c:news", "i:hers"}),
    started="now-1",
    stopped="now-9",
    received=got(2, 3, 7, 9),
)


def found(faults: Iterable[Fault]) -> list[tuple[Kind, str]]:
    return [(fault.kind, fault.id) for fault in faults]


def test_a_good_run_has_no_fault() -> None:
    """Events for others, her own excluded event and control records are not missed."""
    assert faults_of_clients(LOG, [GOOD]) == []


def test_an_id_of_an_earlier_epoch_names_the_same_place() -> None:
    """A client may have connected before the log went on in a new epoch."""
    events = (received("before-2", "event 2"), *got(3, 7, 9))
    part = replace(GOOD, started="before-1", received=events)
    assert faults_of_clients(LOG, [part]) == []


def test_events_after_the_end_of_a_part_are_not_judged() -> None:
    """Events may still be published while clients are stopped one after another."""
    part = replace(GOOD, received=got(2, 3, 7, 9, 10))
    assert faults_of_clients(LOG, [part]) == []


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(got(2, 3, 9), [(Kind.LOST, "now-7")], id="lost"),
        pytest.param(got(2, 3, 7), [(Kind.LOST, "now-9")], id="lost at the end"),
        pytest.param(got(2, 3, 3, 7, 9), [(Kind.DOUBLED, "now-3")], id="doubled"),
        pytest.param(got(2, 7, 3, 9), [(Kind.OUT_OF_ORDER, "now-3")], id="swapped"),
        pytest.param(got(2, 3, 4, 7, 9), [(Kind.FOREIGN, "now-4")], id="to another"),
        pytest.param(got(2, 3, 5, 7, 9), [(Kind.FOREIGN, "now-5")], id="excluded"),
        pytest.param(got(2, 3, 6, 7, 9), [(Kind.FOREIGN, "now-6")], id="control"),
        pytest.param(got(1, 2, 3, 7, 9), [(Kind.FOREIGN, "now-1")], id="too early"),
        pytest.param(
            (*got(2, 3), received("now-7", "changed"), *got(9)),
            [(Kind.WRONG_DATA, "now-7")],
            id="changed",
        ),
        pytest.param(
            (*got(2, 3, 7, 9), received("before-4", "event 4")),
            [(Kind.UNKNOWN_ID, "before-4")],
            id="beyond the end of its epoch",
        ),
        pytest.param(
            (*got(2, 3, 7, 9), received("other-7", "event 7")),
            [(Kind.UNKNOWN_ID, "other-7")],
            id="of another log",
        ),
    ],
)
def test_a_planted_fault_is_found(
    events: tuple[ParsedEvent, ...], expected: list[tuple[Kind, str]]
) -> None:
    """Each fault is found with its right kind, and once."""
    part = replace(GOOD, received=events)
    assert found(faults_of_clients(LOG, [GOOD, part])) == expected


#: Events 2 and 3 were trimmed at the time 10, events up to 6 at the time 20.
TRIMMED = replace(LOG, floors=(Floor(5.0, 1), Floor(10.0, 4), Floor(20.0, 7)))


@pytest.mark.parametrize(
    ("addresses", "events", "reset", "expected"),
    [
        pytest.param(
            {"*", "c:news"}, got(7, 9), Reset("now-1", "now-6", 9.0), [], id="own loss"
        ),
        pytest.param(
            {"c:sport"},
            got(8),
            Reset("now-1", "now-6", 9.0),
            [(Kind.FALSE_RESET, "now-1")],
            id="only others have lost something",
        ),
        pytest.param(
            {"*", "c:news"},
            got(2, 3, 7, 9),
            Reset("now-3", "now-6", 9.0),
            [(Kind.FALSE_RESET, "now-3")],
            id="all that was trimmed had been received",
        ),
        pytest.param(
            {"*", "c:news"},
            got(7, 9),
            Reset("now-1", "now-6", 4.0),
            [(Kind.FALSE_RESET, "now-1")],
            id="before anything was trimmed",
        ),
        pytest.param(
            {"*", "c:news"},
            got(7, 9),
            Reset("now-1", "now-2", 9.0),
            [(Kind.LOST, "now-3")],
            id="more was lost than was told",
        ),
        pytest.param(
            {"*", "c:news"},
            got(7, 9),
            None,
            [(Kind.LOST, "now-2"), (Kind.LOST, "now-3")],
            id="a loss that was not told",
        ),
        pytest.param(
            {"*", "c:news"},
            got(7, 9),
            Reset("now-1", "", 9.0),
            [(Kind.LOST, "now-2"), (Kind.LOST, "now-3")],
            id="a reset that the client has not survived",
        ),
    ],
)
def test_a_client_is_reset_if_it_has_lost_something(
    addresses: set[str],
    events: tuple[ParsedEvent, ...],
    reset: Reset | None,
    expected: list[tuple[Kind, str]],
) -> None:
    """Only a trimmed event for the client itself is a loss, and each loss is told."""
    part = replace(
        GOOD,
        addresses=frozenset(addresses),
        received=events,
        resets=() if reset is None else (reset,),
    )
    assert found(faults_of_clients(TRIMMED, [part])) == expected


def test_a_reset_is_false_where_the_log_is_whole() -> None:
    """The client discarded its state for nothing."""
    part = replace(GOOD, received=got(2, 9), resets=(Reset("now-2", "now-8", 9.0),))
    assert found(faults_of_clients(LOG, [part])) == [(Kind.FALSE_RESET, "now-2")]


def valued(place: int, *to: str, key: str, deletes: bool = False) -> Entry:
    return replace(entry(place, *to), key=key, deletes=deletes)


#: A log of values, in which two channels have a key of the same name.
VALUES = Log(
    (
        entry(1, "*"),
        valued(2, "c:news", key="price"),
        valued(3, "c:news", key="gone"),
        valued(4, "c:news", key="gone", deletes=True),
        valued(5, "c:sport", key="price"),
        valued(6, "u:alice", "c:news", key="shared"),
        valued(7, "c:news", key="price"),
        entry(8, "*"),
        valued(9, "c:news", key="late"),
    ),
    {"now": 9},
)
VIEWER = replace(GOOD, stopped="now-8", received=got(6, 7, 8))


def tells(place: int, *, state: bool = False) -> ParsedEvent:
    """Return the event of an entry of VALUES, with the fields beside the standard's."""
    told = VALUES.entries[place - 1]
    channel, key = told.name
    fields = [("channel", channel)] if channel else []
    fields += [("key", key)] if key else []
    fields += [("deleted", "true")] if told.deletes else []
    fields += [("state", "true")] if state else []
    event_id = "" if state else told.id
    return ParsedEvent("message", told.data, event_id, tuple(fields))


def shown(*events: ParsedEvent) -> dict[tuple[str, str], str]:
    page = Shown()
    for event in events:
        page.take(event)
    return page.values


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([2, 3, 4, 6, 7], [], id="live"),
        pytest.param([6, 7], [], id="replaced and ended values are skipped"),
        pytest.param([6, 7, 9], [], id="a value after the end is not judged"),
        pytest.param([2, 6], ["now-7"], id="the last value is lost"),
        pytest.param([7, 2, 6], ["now-7"], id="an old value after the last one"),
        pytest.param([2, 3, 6, 7], ["now-4"], id="the end of a value is lost"),
        pytest.param([3, 4, 3, 6, 7], ["now-4"], id="a value again after its end"),
        pytest.param([7], ["now-6"], id="a value that was never received"),
        pytest.param([5, 6, 7], [""], id="a value of another channel"),
    ],
)
@pytest.mark.parametrize("is_state", [True, False], ids=["state", "live"])
def test_a_page_shows_the_last_value_of_each_key(
    events: list[int], expected: list[str], is_state: bool
) -> None:
    """A wrong value is found, whichever way it came about, and once."""
    first, *later = events
    page = shown(tells(first, state=is_state), *map(tells, later))
    faults = faults_of_values(VALUES, [VIEWER, replace(VIEWER, shown=page)])
    assert found(faults) == [(Kind.WRONG_VALUE, each) for each in expected]


def test_the_client_that_is_excluded_knows_the_value() -> None:
    """Whether its page shows the value that it has set itself is its own affair."""
    *before, last = VALUES.entries
    own = replace(last, place=7, id="now-7", key="price", exclude=frozenset({"hers"}))
    log = Log((*before[:6], own), {"now": 7})
    part = replace(VIEWER, stopped="now-7", shown=shown(tells(2), tells(6)))
    assert faults_of_values(log, [part]) == []


def test_a_stream_that_begins_again_forgets_its_values() -> None:
    """A value may have ended while the client was away."""
    page = Shown()
    page.take(tells(3, state=True))
    page.begin()
    assert page.values == {}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(got(2, 3, 4, 6, 7, 8), [], id="all"),
        pytest.param(got(4, 6, 7, 8), [], id="replaced values are skipped"),
        pytest.param(got(2, 3, 4, 6, 8), [(Kind.LOST, "now-7")], id="the last value"),
        pytest.param(got(3, 6, 7, 8), [(Kind.LOST, "now-4")], id="the end of a value"),
    ],
)
def test_only_the_last_value_of_a_key_must_arrive(
    events: tuple[ParsedEvent, ...], expected: list[tuple[Kind, str]]
) -> None:
    """A client that reads on may skip the values that later ones replace."""
    part = replace(VIEWER, received=events)
    assert found(faults_of_clients(VALUES, [part])) == expected


def test_an_answer_that_is_no_stream_is_a_fault() -> None:
    """A browser would never reconnect, although the tests' client does."""
    part = replace(GOOD, turned_away=("500",))
    assert found(faults_of_clients(LOG, [part])) == [(Kind.TURNED_AWAY, "")]


def test_a_client_that_began_outside_the_log_is_a_fault() -> None:
    """Otherwise, no event at all would be expected on its stream."""
    part = replace(GOOD, started="other-1")
    assert found(faults_of_clients(LOG, [part])) == [(Kind.UNKNOWN_ID, "other-1")]


def test_the_ids_of_publish_calls_are_in_the_log() -> None:
    """The event of a failed call may be in the log or not."""
    calls = [
        Published("event 2", "before-2"),
        Published("event 3", None),
        Published("never appended", None),
    ]
    assert faults_of_publishers(LOG, calls) == []


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        pytest.param(Published("event 11", "now-11"), Kind.UNKNOWN_ID, id="not there"),
        pytest.param(Published("other", "now-3"), Kind.WRONG_DATA, id="another event"),
    ],
)
def test_a_publish_that_returned_a_wrong_id_is_found(
    call: Published, expected: Kind
) -> None:
    """Its event was lost after the caller was told that it is safe."""
    assert found(faults_of_publishers(LOG, [call])) == [(expected, call.id)]


def test_a_publish_that_was_appended_twice_is_found() -> None:
    """The second entry is found even if the call returned no id."""
    again = replace(entry(11, "*"), data="event 2")
    log = Log((*LOG.entries, again), {"now": 11})
    calls = [Published("event 2", None)]
    assert found(faults_of_publishers(log, calls)) == [(Kind.APPENDED_TWICE, "no id")]
