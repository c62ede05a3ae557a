"""Answers whose worker goes away: another worker goes on with them, once."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from flask_sse_hub.answers.lasting import records
from flask_sse_hub.answers.lasting.records import MOST_RESTARTS, Restart
from flask_sse_hub.answers.lasting.runner import Runner
from flask_sse_hub.answers.progress import Progress
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.errors import StateFull
from flask_sse_hub.hub.members import MISSED_BEATS
from tests.kit.hand import KEEP_ALL
from tests.unit.answers.lasting.conftest import (
    SINGLY,
    Given,
    GivenRestarts,
    Worker,
    finish,
    run,
    step,
)

RESTART = Restart(
    function="app.go_on", timeout=600.0, app_context=False, size=9, interval=0.1
)


class Team:
    """Three workers that can go on with each other's answers."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.restarts = [GivenRestarts("c", "d") for _ in range(3)]
        self.workers = [Worker(broker, restarts=each) for each in self.restarts]
        # A process that has served nobody is none of an app's workers.
        for worker in self.workers:
            worker.hand.stream()
        self.one, self.two, self.three = self.workers

    def start(self, *items: str, **other: Any) -> Runner:
        runner = self.one.start(Given(*items), restart=RESTART, **other)
        run(runner)
        self.bring()
        return runner

    def bring(self) -> None:
        for worker in self.workers:
            worker.hand.bring()

    def look(self, *workers: Worker) -> None:
        for worker in workers or self.workers:
            worker.look()
        self.bring()

    def go_on(self) -> Runner:
        """Elect a successor, and let it append everything that it was given."""
        self.look()
        self.look()
        (runner,) = [each for each in self.successors if not each.over.is_set()]
        run(runner)
        for worker in self.workers:
            worker.hand.clock.advance(0.2)
        step(runner)
        self.bring()
        return runner

    def drain(self, runner: Runner) -> None:
        """Let the first worker go away, as the watch for departures does."""
        for stream in list(self.one.watch.streams):
            stream.worker_leaves()
        finish(runner)
        self.bring()

    def kill(self, victim: Worker) -> None:
        """Kill a worker. Another one beats until it is written off."""
        self.workers.remove(victim)
        for _ in range(MISSED_BEATS + 2):
            self.workers[0].hand.hub.members.beat()
            self.bring()

    @property
    def successors(self) -> list[Runner]:
        every = [each for worker in self.workers for each in worker.runners]
        return [runner for runner in every if runner.begun.turn]

    @property
    def calls(self) -> list[object]:
        return [call for restarts in self.restarts for call in restarts.calls]


@pytest.fixture
def team(broker: MemoryBroker) -> Team:
    return Team(broker)


@pytest.mark.parametrize("way", ["drains", "dies"])
def test_one_other_worker_goes_on(team: Team, way: str) -> None:
    """From the text so far. Readers on each worker read each part once, and one end."""
    runner = team.start("a", "b")
    readers = [worker.read() for worker in (team.two, team.three)]
    texts = [reader.text() for reader in readers]
    if way == "drains":
        team.drain(runner)
        team.bring()
    else:
        team.kill(team.one)
    assert not team.two.desk.runs(team.two.entry)
    successor = team.go_on()
    assert team.calls == ["ab"]
    for source in team.restarts[1].sources + team.restarts[2].sources:
        source.end()
    finish(successor)
    team.bring()
    for text, reader in zip(texts, readers, strict=True):
        assert text + reader.text() == "abcd"
        assert (reader.ended, reader.source.exhausted) == (True, True)
    assert team.two.reason == team.three.reason == "done"
    assert team.two.entry.begun.turn == 1


def test_a_reader_of_the_draining_worker_reads_on_elsewhere(team: Team) -> None:
    """Its last id is good on each worker."""
    runner = team.start("a", "b")
    reader = team.one.read()
    text = reader.text()
    team.drain(runner)
    team.bring()
    assert not team.one.desk.runs(team.one.entry)
    team.go_on()
    again = team.two.read(last_id=reader.drop())
    assert text + again.text() == "abcd"


def test_an_answer_that_ends_in_time_is_not_restarted(team: Team) -> None:
    """The worker had its last item before it had to go."""
    runner = team.one.start(Given("a"), restart=RESTART)
    runner._supply.end()  # type: ignore[attr-defined]
    team.drain(runner)
    team.look()
    assert team.two.reason == "done"


def test_an_answer_without_restart_is_lost(team: Team) -> None:
    """As it always was."""
    runner = team.one.start(Given("a"))
    run(runner)
    team.drain(runner)
    team.look()
    assert team.two.reason == "shutdown"
    assert team.calls == []


def test_a_worker_that_was_only_stopped_adds_nothing(team: Team) -> None:
    """Its parts, its snapshot, its progress and its end come too late."""
    runner = team.start("a", "b")
    sleeper = team.one
    team.kill(sleeper)
    team.go_on()
    old = runner.begun
    for late in (
        records.part(old, 2, "wrong"),
        records.snapshot(old, "abwrong"),
        records.progress(old, Progress(1)),
        records.end(old, records.Ended(reason="done", id="end-0123456789abcdef")),
    ):
        team.broker.publish(late)
    team.bring()
    begins_now = Worker(team.broker)
    for worker in (*team.workers, begins_now):
        assert worker.entry.content == "abcd"
        assert worker.entry.progress is None
        assert worker.entry.is_running
    # It learns of it, and stops.
    sleeper.hand.bring()
    assert runner.over.is_set()
    assert runner._supply.stopped  # type: ignore[attr-defined]


def test_a_late_worker_finds_the_end_behind_a_late_end(team: Team) -> None:
    """Also where the state has lost the record that began the turn."""
    runner = team.start("a", "b")
    team.kill(team.one)
    successor = team.go_on()
    team.broker.publish(records.snapshot(runner.begun, "abwrong"))
    ended = records.Ended(reason="failed", id="end-0123456789abcdef")
    team.broker.publish(records.end(runner.begun, ended))
    successor.end_now("stopped")
    finish(successor)
    team.bring()
    late = Worker(team.broker)
    assert late.reason == team.two.reason == "stopped"
    assert late.entry.content == team.two.entry.content == "abcd"


def test_a_stop_while_nobody_runs_it_is_the_end(team: Team) -> None:
    """Nobody goes on with it then."""
    team.drain(team.start("a"))
    team.bring()
    with pytest.raises(Exception, match="behind the log"):
        # A worker without threads reads nothing by itself.
        team.two.desk.stop("answer")
    team.look()
    team.look()
    assert team.two.reason == team.three.reason == "stopped"
    assert team.calls == []


def test_a_stop_that_a_restart_overtakes_is_repeated(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call returns when the answer has ended."""
    team.drain(team.start("a"))
    team.two.hand.bring()
    team.look(team.three)
    monkeypatch.setattr(
        team.two.hand.hub, "wait_until_read", lambda _: team.two.hand.bring()
    )
    assert team.two.desk.stop("answer")
    team.bring()
    assert team.three.reason == "stopped"
    assert team.three.runners == [] or team.three.runners[0].over.is_set()


def test_a_second_death_is_one_more_turn_and_there_is_a_bound(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that kills its workers does not kill all of them."""
    team.drain(team.start("a"))
    for turn in range(1, MOST_RESTARTS + 1):
        runner = team.go_on()
        assert team.two.entry.begun.turn == turn
        team.broker.publish(records.release(runner.begun))
        team.bring()
    team.look()
    assert team.two.reason == "lost"
    assert "after 3 restarts" in caplog.text
    assert len(team.calls) == MOST_RESTARTS
    assert team.two.entry.content == "a" + "cd" * MOST_RESTARTS


def test_a_worker_without_the_function_leaves_it_to_others(team: Team) -> None:
    """So a deploy can add a function. Without any, the answer is lost."""
    team.drain(team.start("a"))
    team.restarts[1].missing = "it lacks it"
    team.look(team.two)
    assert team.two.reason is None
    team.look(team.three)
    team.look(team.three)
    assert team.calls == ["a"]


def test_an_answer_that_nobody_can_restart_is_lost(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why."""
    team.drain(team.start("a"))
    for restarts in team.restarts:
        restarts.missing = "it lacks it"
    team.look()
    for worker in team.workers:
        worker.hand.clock.advance(4.0)
    team.look()
    assert team.two.reason == team.three.reason == "lost"
    assert "no worker can restart it, this one because it lacks it" in caplog.text


def test_a_script_restarts_nothing(broker: MemoryBroker) -> None:
    """It may end at any moment. It ends nothing either."""
    team = Team(broker)
    team.drain(team.start("a"))
    script = Worker(broker, restarts=GivenRestarts("c"))
    for _ in range(2):
        script.look()
        script.hand.clock.advance(9.0)
    assert script.entry.begun.turn == 0
    assert script.reason is None


def test_a_worker_that_goes_away_restarts_nothing(team: Team) -> None:
    """Others do."""
    team.drain(team.start("a"))
    team.two.hand.parts.admission.closed = True
    team.look(team.two)
    assert team.two.entry.begun.turn == 0


def test_the_batch_is_as_the_answer_began(team: Team) -> None:
    """The app has said when items leave together."""
    slow = replace(RESTART, size=2, interval=50.0)
    runner = team.one.start(Given("a"), restart=slow)
    run(runner)
    team.drain(runner)
    team.look()
    team.look()
    (successor,) = team.successors
    items = successor._supply.items  # type: ignore[attr-defined]
    items.extend(["c", "d", "e"])
    items.popleft()
    items.popleft()
    step(successor)
    assert team.two.entry.content == "acd"


def test_the_timeout_is_that_of_the_whole_answer(team: Team) -> None:
    """However many workers make it. The broker's clock counts."""
    short = replace(RESTART, timeout=0.000001)
    runner = team.one.start(Given("a"), restart=short)
    run(runner)
    team.drain(runner)
    team.look()
    team.look()
    (successor,) = team.successors
    finish(successor)
    team.bring()
    assert team.two.reason == "timeout"


def test_a_failing_function_fails_the_answer(team: Team) -> None:
    """It is not tried again."""
    team.drain(team.start("a"))
    team.look()
    team.look()
    (successor,) = team.successors
    successor._supply.items.clear()  # type: ignore[attr-defined]
    successor._supply.end(ValueError("broken"))  # type: ignore[attr-defined]
    finish(successor)
    team.look()
    assert team.two.reason == "failed"
    assert len(team.calls) == 1


def test_items_go_on_as_items(team: Team) -> None:
    """The function receives those so far, in the form of the log."""
    runner = team.one.start(
        Given("a", ["b", "row", None]), batch=SINGLY, is_text=False, restart=RESTART
    )
    run(runner)
    team.drain(runner)
    team.go_on()
    assert team.calls == [["a", ["b", "row", None]]]
    assert team.one.read().read()[2:] == ["c", "d"]


def test_nothing_is_left_of_a_restarted_answer(team: Team) -> None:
    """No key of any turn, and no run. The old snapshot goes as soon as there is one."""
    runner = team.start("a", keep=60.0)
    team.drain(runner)
    successor = team.go_on()
    assert {"snapshot", "snapshot-1"} <= set(team.two.entry.keys)
    team.look()
    assert "snapshot" not in team.two.entry.keys
    # A worker that was stopped writes it again.
    team.broker.publish(records.snapshot(runner.begun, "a"))
    successor.end_now("stopped")
    finish(successor)
    team.bring()
    for seconds in (0.0, 59.0, 3.0, 3.0):
        for worker in team.workers:
            worker.hand.clock.advance(seconds)
        team.look()
    for worker in team.workers:
        assert len(worker.desk.book) == worker.desk.running == 0
        assert worker.watch.streams == []
        assert not worker.desk.needs_members()
        worker.hand.hub.members.beat()
    assert team.broker.state().records == ()


def test_without_room_in_the_state_it_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """The record of a turn needs a key of its own."""
    team = Team(MemoryBroker(replace(KEEP_ALL, state_keys=5)))
    runner = team.start("a")
    team.broker.publish(records.release(runner.begun))
    with contextlib.suppress(StateFull):
        for number in range(9):
            team.two.hand.publish("x", key=f"{number}")
    team.look()
    assert team.two.reason == "lost"
    assert "SSE-1609" in caplog.text
