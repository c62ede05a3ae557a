"""The fold of presence, with records that are made by hand."""

from dataclasses import replace

import pytest

from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.hub.presence import records
from flask_sse_hub.hub.presence.changes import PresenceChange
from flask_sse_hub.hub.presence.fold import Changes, PresenceFold
from flask_sse_hub.hub.presence.records import Said, key_of
from flask_sse_hub.testing import Clock

ROOM = "room.7"
ANN = Said(records.JOIN, ROOM, "ann", 5.0)
KEY = key_of(ROOM, "ann")


class Log:
    """A fold of the worker "own", and a log that a test writes line by line."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.members = {"own", "a", "b"}
        self.told: list[object] = []
        self._offset = 0
        self.fold = PresenceFold(
            "own",
            is_member=lambda worker: worker in self.members,
            changes=Changes(
                heard=lambda: None,
                own=lambda _: None,
                came=self._note("came"),
                left=self._note("left"),
            ),
            clock=self.clock,
        )
        self.begin()

    def _note(self, what: str) -> "Note":
        return Note(what, self.told)

    def begin(self, *state: Record) -> None:
        self.fold.restart()
        for record in state:
            self.write(record)
        self.fold.caught_up()

    def write(self, *written: Record) -> None:
        for record in written:
            self._offset += 1
            self.fold.take(replace(record, cursor=Cursor("e", self._offset)))

    @property
    def people(self) -> dict[str, int]:
        return {each.user: each.devices for each in self.fold.people(ROOM)}

    @property
    def vacant(self) -> list[str]:
        return [person.user for _, person, _ in self.fold.vacancies()]


class Note:
    """A listener that notes its calls."""

    def __init__(self, what: str, told: list[object]) -> None:
        self._what = what
        self._told = told

    def __call__(self, change: PresenceChange) -> None:
        if change.is_own:
            self._told.append((self._what, *change[:4]))


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_join_makes_a_person_and_an_entry(log: Log) -> None:
    """Further entries add devices, and the last one to go leaves a vacancy."""
    log.write(records.join("a", ANN), records.here("b", ROOM, "ann", 2))
    assert log.people == {"ann": 3}
    log.write(records.gone("a", KEY))
    assert (log.people, log.vacant) == ({"ann": 2}, [])
    log.write(records.gone("b", KEY))
    assert (log.people, log.vacant) == ({"ann": 0}, ["ann"])
    log.write(records.here("a", ROOM, "ann", 1))
    assert log.vacant == []
    log.write(records.leave("own", ANN))
    assert log.people == {}


def test_a_vacancy_is_measured_from_the_last_entry_on(log: Log) -> None:
    """A further record of the same kind does not begin it again."""
    log.write(records.join("own", ANN), records.gone("own", KEY))
    began = log.clock.now
    log.clock.advance(5.0)
    log.write(records.gone("own", KEY))
    ((_, _, vacancy),) = log.fold.vacancies()
    assert (vacancy.since, vacancy.was_here) == (began, True)
    log.fold.begin_vacancies_again()
    ((_, _, vacancy),) = log.fold.vacancies()
    assert vacancy.since == began + 5.0


def test_a_worker_that_is_gone_has_no_entries(log: Log) -> None:
    """Neither those from before its end, nor those that come after it."""
    log.write(records.join("a", ANN), records.here("b", ROOM, "ann", 1))
    log.members.remove("a")
    log.fold.member_left("a")
    assert log.people == {"ann": 1}
    log.write(records.here("a", ROOM, "ann", 1))
    assert log.people == {"ann": 1}


def test_one_worker_cleans_up(log: Log) -> None:
    """The first one of those that have entries, until the deletes have come."""
    log.write(records.join("b", ANN), records.here("a", ROOM, "ann", 1))
    log.members.remove("b")
    log.fold.member_left("b")
    assert log.fold.to_clean(most=9) == []
    log.write(records.gone("a", KEY))
    assert log.fold.to_clean(most=9) == [("b", KEY)]
    log.write(records.gone("b", KEY))
    assert log.fold.to_clean(most=9) == []


def test_a_late_worker_has_the_same_table(log: Log) -> None:
    """Values come in any order of addresses, and entries of strangers are dropped."""
    join = records.join("a", ANN)
    parts = [replace(join, addresses=(each,)) for each in reversed(join.addresses)]
    stranger = records.here("stranger", ROOM, "ann", 4)
    log.begin(*parts, stranger)
    assert log.people == {"ann": 1}
    assert log.fold.to_clean(most=9) == []
    log.begin(stranger, parts[1])
    assert log.vacant == ["ann"]
    assert log.fold.to_clean(most=9) == [("stranger", KEY)]


def test_questions_are_answered_during_a_restart(log: Log) -> None:
    """The old table answers until the new one is filled."""
    log.write(records.join("a", ANN))
    log.fold.restart()
    assert log.people == {"ann": 1}
    log.fold.caught_up()
    assert log.people == {}


def test_only_the_writer_tells_of_a_change(log: Log) -> None:
    """It tells whether the user is new, and the channel. A restart tells nothing."""
    bob = Said(records.JOIN, ROOM, "bob", 6.0)
    log.write(records.join("own", ANN), records.join("a", bob))
    log.write(records.join("own", ANN))
    log.write(records.leave("a", bob), records.leave("own", ANN))
    assert log.told == [
        ("came", ROOM, "ann", True, True),
        ("left", ROOM, "ann", True, True),
    ]
    log.begin(records.join("own", ANN))
    assert len(log.told) == 2


def test_a_long_name_has_a_short_key() -> None:
    """A key has 255 characters at most. Different names have different keys."""
    long = "x" * 255
    keys = {key_of(long, "ann"), key_of(long, "bob"), key_of("room", "ann")}
    assert len(keys) == 3
    assert all(len(key) <= 255 for key in keys)
