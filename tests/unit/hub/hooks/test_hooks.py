"""Hooks on several workers: each one is delivered, whichever worker is killed."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flask_sse_hub import BrokerUnavailable
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.event import Event
from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.hub.hooks import keeper, records
from flask_sse_hub.hub.hooks.records import Hook
from flask_sse_hub.hub.members import MISSED_BEATS, farewell_of
from tests.kit.hand import KEEP_ALL
from tests.kit.people import ROOM, Company, Worker

URL = "https://app.example/hooks"
GRACE = 15
LONG = GRACE + 5
WRITTEN_OFF = 5 * (MISSED_BEATS + 2)


class Receiver:
    """A URL that notes what it is told, and fails as long as a test wants it to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ids: list[str] = []
        self.attempts = 0
        self.problem: Callable[[Hook], str | None] = lambda _: None

    def __call__(self, hook: Hook) -> str | None:
        self.attempts += 1
        problem = self.problem(hook)
        if problem is None:
            self.told.append(f"{hook.type} {hook.name}")
            self.ids.append(hook.id)
        return problem


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def staff(receiver: Receiver, broker: Any = None, **options: Any) -> Company:
    """Return two workers that tell a receiver of their people."""
    return Company(broker, hooks={URL: receiver}, **options)


def waiting(company: Company) -> list[Record]:
    """Return the hooks in the state of the log."""
    found = company.broker.state().records
    return [each for each in found if str(each.key).startswith("hook-")]


def test_each_change_is_told_once_and_in_order(receiver: Receiver) -> None:
    """Of many tabs and channels only the first and the last ones tell."""
    company = staff(receiver)
    one, two = company.workers
    tabs = [one.tab("ann"), one.tab("ann", ROOM, "room.8")]
    company.settle()
    two.tab("bob")
    company.wait(3)
    for tab in tabs:
        one.close_tab(tab)
    company.wait(LONG)
    assert receiver.told == [
        *("channel_occupied room.7", "user_came ann", "channel_occupied room.8"),
        *("user_came bob", "user_left ann", "channel_vacated room.8"),
    ] or receiver.told == [
        *("channel_occupied room.7", "user_came ann", "channel_occupied room.8"),
        *("user_came bob", "channel_vacated room.8", "user_left ann"),
    ]
    assert len(set(receiver.ids)) == len(receiver.ids)
    assert waiting(company) == []


def test_each_url_is_told(receiver: Receiver) -> None:
    """A URL that fails does not hold the others back."""
    other = Receiver()
    other.problem = lambda _: "it answered 500"
    company = Company(hooks={URL: receiver, "https://b.example/": other})
    company.workers[0].tab("ann")
    company.settle()
    assert receiver.told == ["channel_occupied room.7", "user_came ann"]
    other.problem = lambda _: None
    company.wait(5)
    assert sorted(other.ids) == sorted(receiver.ids)


def write_join(worker: Worker, user: str = "ann") -> None:
    """Let a user come, and stop right after the worker has written that."""
    worker.tab(user)
    worker.roster.step()
    worker.bring()
    worker.roster.step()


def test_a_worker_that_is_killed_at_once_loses_nothing(receiver: Receiver) -> None:
    """The others have read the change, and write its hooks a little later."""
    company = staff(receiver)
    one, two = company.workers
    two.tab("watcher", "room.8")
    company.settle()
    receiver.told.clear()
    write_join(one)
    company.kill(one)
    company.wait(2)
    assert receiver.told == []
    company.wait(5)
    assert receiver.told == ["channel_occupied room.7", "user_came ann"]


def test_a_hook_that_others_have_delivered_holds_back_none(receiver: Receiver) -> None:
    """A worker reads that it was written, and that it is done, in one batch."""
    company = staff(receiver)
    one, two = company.workers
    one.tab("watcher")
    company.settle()
    two.is_stopped = True
    one.tab("ann")
    company.settle()
    two.is_stopped = False
    two.tab("bob")
    company.settle()
    assert receiver.told[-1] == "user_came bob"


def test_all_workers_that_are_killed_at_once_lose_nothing(receiver: Receiver) -> None:
    """A worker that begins finds the newest changes in the log, and tells each once."""
    company = staff(receiver, workers=1)
    (one,) = company.workers
    one.tab("watcher")
    tab = one.tab("bob")
    company.settle()
    one.close_tab(tab)
    company.wait(GRACE - 1)
    receiver.told.clear()
    # From here on the hooks of this worker stand still.
    one.deliver = lambda: None  # type: ignore[method-assign]
    company.wait(LONG - GRACE)
    one.tab("ann", "room.8")
    company.settle()
    company.kill(one)
    company.hire()
    company.wait(WRITTEN_OFF)
    told = ["channel_occupied room.8", "user_came ann", "user_left bob"]
    assert sorted(receiver.told) == told
    company.hire()
    company.wait(10)
    assert sorted(receiver.told) == told


def test_a_log_without_hooks_tells_nothing_of_the_past(receiver: Receiver) -> None:
    """The app has just configured its first URL."""
    company = staff(receiver)
    for worker in list(company.workers):
        company.kill(worker)
    before = company.hire(hooks=None)
    before.tab("ann")
    company.wait(3)
    company.hire().tab("bob")
    company.wait(10)
    assert receiver.told == ["user_came bob"]


def test_another_worker_delivers_for_one_that_was_killed(receiver: Receiver) -> None:
    """The hooks wait in the log."""
    company = staff(receiver)
    one, two = company.workers
    receiver.problem = lambda _: "away"
    one.tab("ann")
    company.settle()
    assert one.parts.hooks.is_courier() != two.parts.hooks.is_courier()
    company.kill(one if one.parts.hooks.is_courier() else two)
    receiver.problem = lambda _: None
    company.wait(WRITTEN_OFF + 5)
    assert receiver.told[:2] == ["channel_occupied room.7", "user_came ann"]
    company.wait(LONG)
    assert waiting(company) == []


def test_a_worker_that_drains_hands_its_hooks_over(receiver: Receiver) -> None:
    """It writes what it knows, and the next worker delivers."""
    company = staff(receiver, workers=1)
    (one,) = company.workers
    receiver.problem = lambda _: "away"
    write_join(one)
    one.bring()
    one.hub.drain()
    company.kill(one)
    assert len(waiting(company)) == 2
    receiver.problem = lambda _: None
    company.hire()
    company.wait(3)
    assert receiver.told[:2] == ["channel_occupied room.7", "user_came ann"]


def test_the_courier_of_the_day_stays_one(receiver: Receiver) -> None:
    """Two workers that claim at one moment: the first claim in the log counts."""
    company = staff(receiver)
    one, two = company.workers
    for worker in (one, two):
        worker.tab("ann")
        worker.tab("bob")
    receiver.problem = lambda _: "away"
    company.wait(12)
    claims = [each for each in log_of(company) if each.key == "courier"]
    assert len(claims) == 1


def log_of(company: Company) -> list[Record]:
    start = Cursor(company.broker.head().epoch, 0)
    return list(company.broker.replay(start, page=10_000).records)


def test_a_courier_that_was_no_member_goes_on(receiver: Receiver) -> None:
    """Nothing else wakes it when its worker's beat is read."""
    company = staff(receiver)
    one = company.workers[0]
    one.tab("ann")
    company.settle()
    receiver.problem = lambda _: "it answered 500"
    one.tab("bob")
    company.settle()
    work = threading.Event()
    one.parts.hooks.listen(work)
    company.broker.publish(farewell_of(one.parts.members.own_id))
    one.bring()
    assert not one.parts.hooks.is_courier()
    work.clear()
    one.parts.members.beat()
    one.bring()
    assert not work.is_set()
    one.parts.hooks.step()
    assert work.is_set()


def test_a_worker_without_urls_is_no_courier(receiver: Receiver) -> None:
    """Such as one with the configuration of yesterday."""
    company = Company(workers=1)
    company.hire(hooks={URL: receiver})
    company.workers[0].tab("ann")
    company.wait(10)
    assert receiver.told == ["channel_occupied room.7", "user_came ann"]
    assert company.workers[1].parts.hooks.is_courier()


def test_a_failure_is_tried_again_with_growing_pauses(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so once, and when it is over."""
    caplog.set_level(logging.INFO)
    company = staff(receiver)
    receiver.problem = lambda _: "it answered 500"
    company.workers[0].tab("ann", "room.8")
    company.wait(120)
    assert 6 <= receiver.attempts <= 12
    assert caplog.text.count("hooks wait for https://app.example: it answered 500") == 1
    receiver.problem = lambda _: None
    company.wait(120)
    assert receiver.told == ["channel_occupied room.8", "user_came ann"]
    assert "hooks are delivered again" in caplog.text


def test_a_hook_that_is_refused_holds_back_only_its_own_user(
    receiver: Receiver,
) -> None:
    """Others go first. A later hook of the same user never comes before it."""
    company = staff(receiver)
    one, _ = company.workers
    one.tab("watcher")
    company.settle()
    receiver.told.clear()
    receiver.problem = lambda hook: "no" if hook.name == "ann" else None
    tab = one.tab("ann")
    company.settle()
    one.tab("bob")
    company.wait(5)
    assert receiver.told == ["user_came bob"]
    one.close_tab(tab)
    company.wait(LONG)
    receiver.problem = lambda _: None
    company.wait(120)
    assert receiver.told == ["user_came bob", "user_came ann", "user_left ann"]


def test_a_hook_is_given_up_after_a_day(
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line in the log says so, with the hook's id. Nothing of it stays behind."""
    monkeypatch.setattr(keeper, "GIVE_UP_SECONDS", -1.0)
    company = staff(receiver)
    receiver.problem = lambda _: "away"
    company.workers[0].tab("ann")
    company.wait(3)
    assert waiting(company) == []
    assert "is given up: channel_occupied-" in caplog.text
    assert "SSE-1709" in caplog.text


def test_too_many_hooks_push_out_the_oldest(
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver that is away for long must not fill the state of the log."""
    monkeypatch.setattr(keeper, "MOST_WAITING", 3)
    other = Receiver()
    company = Company(hooks={URL: receiver, "https://b.example/": other})
    receiver.problem = lambda _: "away"
    for number in range(5):
        company.workers[0].tab(f"user-{number}")
        company.settle()
    company.wait(3)
    assert len(waiting(company)) == 3
    assert "SSE-1708" in caplog.text
    receiver.problem = lambda _: None
    company.wait(60)
    assert sorted(receiver.told) == [f"user_came user-{number}" for number in (2, 3, 4)]
    assert len(other.told) == 6


class Away(MemoryBroker):
    """A memory broker that takes nothing of a kind while it is away."""

    refuses: Callable[[Record], bool] = staticmethod(lambda _: False)

    def publish(self, record: Record) -> Cursor:
        if self.refuses(record):
            raise BrokerUnavailable("away")
        return super().publish(record)


def test_a_hook_that_was_delivered_is_not_sent_again_by_an_outage(
    receiver: Receiver,
) -> None:
    """The log forgets it when it is back."""
    broker = Away(KEEP_ALL)
    company = staff(receiver, broker)
    broker.refuses = lambda record: record.deletes
    company.workers[0].tab("ann")
    company.wait(5)
    assert receiver.attempts == 2
    assert len(waiting(company)) == 2
    broker.refuses = lambda _: False
    company.wait(15)
    assert waiting(company) == []
    assert receiver.attempts == 2


def test_hooks_wait_for_a_log_that_is_away(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """One line is logged, and nothing is lost."""
    broker = Away(KEEP_ALL)
    company = staff(receiver, broker, workers=1)
    broker.refuses = lambda record: str(record.key).startswith("hook-")
    company.workers[0].tab("ann")
    company.wait(5)
    assert caplog.text.count("SSE-1706") == 1
    broker.refuses = lambda _: False
    company.wait(10)
    assert receiver.told == ["channel_occupied room.7", "user_came ann"]


def test_hooks_wait_for_room_in_the_state(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again each minute."""
    broker = MemoryBroker(replace(KEEP_ALL, state_keys=6))
    company = staff(receiver, broker, workers=1)
    (one,) = company.workers
    tabs = [one.tab(f"user-{number}", sees=False) for number in range(3)]
    company.wait(3)
    assert "SSE-1707" in caplog.text
    for tab in tabs[1:]:
        one.close_tab(tab)
    company.wait(100)
    assert "user_came user-0" in receiver.told


def test_an_attempt_that_raises_is_a_failure(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The courier goes on."""
    company = staff(receiver)

    def fail(_: Hook) -> str | None:
        raise RuntimeError("a bug")

    receiver.problem = fail
    company.workers[0].tab("ann")
    company.settle()
    assert "SSE-1711" in caplog.text
    receiver.problem = lambda _: None
    company.wait(10)
    assert sorted(receiver.told) == ["channel_occupied room.7", "user_came ann"]


def test_a_log_that_lost_the_claim_gets_another(receiver: Receiver) -> None:
    """Also if it remembers the idempotency key of the first one."""
    company = staff(receiver, workers=1)
    (one,) = company.workers
    one.tab("ann")
    company.wait(3)
    book = one.parts.hooks.book
    book.restart()
    book.caught_up()
    one.tab("bob")
    company.wait(15)
    assert receiver.told[-1] == "user_came bob"


def test_a_record_of_another_program_is_not_taken() -> None:
    """A hook stands at its own key."""
    hook = Hook("user_came", "ann", 5.0, URL)
    record = records.due(hook)
    assert records.read(record) == hook
    with pytest.raises(ValueError, match="another one"):
        records.read(replace(record, key="hook-1"))
    assert records.read(replace(record, content=Event("{}", type="other"))) is None


def test_the_statistics_tell_how_many_wait_and_for_how_long(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every worker knows that. The one that delivers counts the attempts."""
    day = Day()
    company = staff(receiver, time_of_day=day)
    one, two = company.workers
    receiver.problem = lambda hook: "away" if hook.name == "ann" else None
    two.tab("ann")
    company.wait(10)
    day.passed += 500
    for worker in company.workers:
        found = worker.hub.stats().hooks
        assert found is not None
        assert found.waiting == 1
        assert 499 < found.age < 560
    counted = [worker.parts.tally for worker in company.workers]
    assert sorted(each.hooks_delivered for each in counted) == [0, 1]
    assert sum(each.hooks_failed for each in counted) == receiver.attempts - 1 > 1
    assert sum(each.hooks_lost for each in counted) == 0
    day.passed += keeper.GIVE_UP_SECONDS
    company.wait(5)
    assert sum(each.hooks_lost for each in counted) == 1
    found = one.hub.stats().hooks
    assert found is not None
    assert (found.waiting, found.age) == (0, 0.0)


class Day:
    """The time of day, which a test moves on."""

    passed = 0.0

    def __call__(self) -> float:
        return time.time() + self.passed
