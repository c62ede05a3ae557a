"""The checker of the presence storm finds each planted fault, and no other one."""

from dataclasses import replace

import pytest

from tests.chaos.presence_storm.checker import (
    Change,
    Seen,
    faults_of_answer,
    faults_of_graces,
    faults_of_log,
    faults_of_tab,
)

LOG = [
    Change(1, "join", "ann", 100.0),
    Change(2, "join", "bob", 101.0),
    Change(3, "update", "bob", 102.0),
    Change(5, "leave", "ann", 130.0),
    Change(8, "join", "ann", 140.0),
]
WHOLE = Seen("a tab", 0, 8, LOG)
# Ann was away from 120 to 139.
STAYS = {
    "ann": [(99.0, 110.0), (105.0, 120.0), (139.0, 200.0)],
    "bob": [(100.0, 200.0)],
}


def test_a_right_storm_has_no_faults() -> None:
    """Also for a tab that came later, and for one that skips what was replaced."""
    skipping = replace(WHOLE, changes=[LOG[0], LOG[2], LOG[4]])
    late = replace(WHOLE, after=2, changes=LOG[2:])
    for seen in (WHOLE, skipping, late):
        assert list(faults_of_tab(LOG, seen)) == []
    assert list(faults_of_log(LOG)) == []
    assert list(faults_of_graces(LOG, STAYS, grace=8.0)) == []
    assert list(faults_of_answer("one", {"ann": 1}, {"ann": 1})) == []


@pytest.mark.parametrize("kind", ["join", "leave"])
def test_a_doubled_change_is_found(kind: str) -> None:
    """A lost beat of a worker could cause a leave of people who are there."""
    at = [each.kind for each in LOG].index(kind)
    doubled = [*LOG[: at + 1], replace(LOG[at], offset=4), *LOG[at + 1 :]]
    assert [fault.split(",")[0] for fault in faults_of_log(doubled)] == [
        {"join": "ann came twice", "leave": "ann left twice"}[kind]
    ]


def test_a_leave_within_the_grace_is_found() -> None:
    """The person had a stream, or had one a moment before."""
    for stay in [(139.0, 200.0), (99.0, 125.0), (90.0, 150.0)]:
        stays = {"ann": [stay]}
        found = list(faults_of_graces(LOG, stays, grace=8.0))
        assert len(found) == (stay != (139.0, 200.0))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (LOG[:4], "has not seen"),
        ([LOG[1], LOG[0], *LOG[2:]], "another order"),
        ([*LOG, LOG[4]], "twice"),
        ([*LOG, Change(9, "join", "eve")], "not in the log"),
    ],
)
def test_a_tab_that_sees_something_else_is_found(
    changes: list[Change], fault: str
) -> None:
    """Something less, more, or in another order."""
    (found,) = faults_of_tab(LOG, replace(WHOLE, changes=changes))
    assert fault in found


def test_a_reset_and_a_wrong_answer_are_found() -> None:
    """Nothing expires in the storm, and all is at rest when workers are asked."""
    assert len(list(faults_of_tab(LOG, replace(WHOLE, resets=["{}"])))) == 1
    answer = {"ann": 2, "eve": 1}
    found = list(faults_of_answer("one", answer, {"ann": 1, "bob": 1}))
    assert [fault.split(" of ")[1].split(",")[0] for fault in found] == [
        *("ann", "bob", "eve")
    ]
