"""The checker finds every planted fault, and none in a good run."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.chaos.checker import (
    Fault,
    Kind,
    Part,
    Published,
    faults_of_clients,
    faults_of_publishers,
)
from tests.chaos.log import Entry, Log
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


def test_a_reset_is_false_where_the_log_is_whole() -> None:
    """The client discarded its state for nothing."""
    part = replace(GOOD, resets=("now-7",))
    assert found(faults_of_clients(LOG, [part])) == [(Kind.FALSE_RESET, "now-7")]


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
