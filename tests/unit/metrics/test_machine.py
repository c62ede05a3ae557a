"""The figures of several workers: their form on the way, their sums, their absence."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flask_sse_hub.events.address import channel
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.stats import OutboxStats
from flask_sse_hub.metrics.colleagues import Answers, Colleagues
from flask_sse_hub.metrics.figures import Figures, figures_of, total
from flask_sse_hub.metrics.machine import Machine
from tests.kit.hand import KEEP_ALL, FlakyBroker, HandHub


def figures(hub: Hub, worker: int = 0, *, clients: bool = False) -> Figures:
    """Return the figures of a hub as its process would."""
    return figures_of(
        hub,
        worker=worker,
        max_clients=100,
        answers=2,
        running_answers=3,
        roster=hub.roster,
        pattern=lambda name: "room.*" if name.startswith("room.") else None,
        clients=clients,
    )


@pytest.fixture
def busy() -> HandHub:
    """A hub with two streams of one user and one of nobody, and two events."""
    hub = HandHub()
    hub.stream(channels=("room.1", "room.2"), user="alice")
    hub.stream(channels=("news",), user="alice")
    hub.stream(channels=("room.1",))
    hub.publish("a")
    hub.publish("b", to=channel("news"))
    hub.bring()
    return hub


def test_figures_count_streams_by_pattern_and_name_no_channel(busy: HandHub) -> None:
    """A stream of two rooms counts once."""
    found = figures(busy.hub)
    assert found.patterns == {"room.*": 2}
    assert found.users == ("alice",)
    assert found.hub.connections == 3
    assert found.hub.publish_latency.count == 2
    assert found.hub.delivery_latency.count == 2
    assert found.broker.up


def test_an_outbox_of_several_workers_is_one(busy: HandHub) -> None:
    """Each sees all rows, and counts its own part."""
    without = figures(busy.hub)
    assert total([without]).outbox is None
    busy.hub.outbox = lambda: OutboxStats(waiting=3, age=2.5, relayed=4, refused=1)
    busy.hub.lost_after_commit()
    one, other = figures(busy.hub), figures(busy.hub, 1)
    assert Figures.from_json(one.to_json()) == one
    sums = total([one, other, without])
    assert sums.outbox == OutboxStats(waiting=3, age=2.5, relayed=8, refused=2)
    assert sums.lost_after_commit == 2


def test_hooks_of_several_workers_are_one(busy: HandHub) -> None:
    """Each knows all that wait, and counts its own deliveries."""
    hub = HandHub(hooks={"https://app.example": lambda _: None})
    hub.parts.tally.hooks_delivered = 2
    hub.parts.hooks.note("user_came", "ann", time=time.time(), is_own=True)
    one, without = figures(hub.hub), figures(busy.hub)
    assert Figures.from_json(one.to_json()) == one
    sums = total([one, one, without]).hooks
    assert sums is not None
    assert (sums.waiting, sums.delivered, sums.failed, sums.lost) == (1, 4, 0, 0)
    assert 0 <= sums.age < 60
    assert total([without]).hooks is None


def test_figures_arrive_as_they_were_sent(busy: HandHub) -> None:
    """Streams, latencies and process facts too."""
    sent = figures(busy.hub, 3, clients=True)
    assert len(sent.hub.clients) == 3
    assert Figures.from_json(sent.to_json()) == sent


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"hub": {}}', b'{"hub": 1}', b"\xff"]
)
def test_an_answer_of_another_version_is_an_error_of_one_kind(data: bytes) -> None:
    """The worker that asks counts it as silent."""
    with pytest.raises(ValueError):
        Figures.from_json(data)


def test_a_broker_that_is_away_is_down(busy: HandHub) -> None:
    """The other figures are still there."""
    hub = HandHub(FlakyBroker(KEEP_ALL))
    hub.broker.away = True  # type: ignore[attr-defined]
    found = figures(hub.hub)
    assert not found.broker.up
    assert found.broker.round_trip is None


def test_the_sums_count_nothing_twice(busy: HandHub) -> None:
    """A user has streams on two workers, and each worker reads the whole log."""
    one = figures(busy.hub, 0)
    two = replace(one, worker=1, users=("alice", "bob"))
    both = total([one, two])
    assert both.connections == 6
    assert both.users == 2
    assert both.events_in == one.hub.events_in == 2
    assert both.events_out == 2 * one.hub.events_out
    assert both.channels == {"room.1": 4, "room.2": 2, "news": 2}
    assert both.publish_latency.count == 4
    assert sum(both.publish_latency.ranges) == 4
    assert both.position == one.hub.position


def test_the_position_of_all_is_the_one_furthest_behind(busy: HandHub) -> None:
    """A worker that hears nothing shows."""
    one = figures(busy.hub)
    behind = replace(one, hub=replace(one.hub, position="abc-1"))
    assert total([one, behind]).position == "abc-1"


class Told(Colleagues):
    """The first worker, with colleagues that answer what the test says."""

    def __init__(self, given: dict[int, bytes], silent: tuple[int, ...] = ()) -> None:
        super().__init__("log")
        self.number = 0
        self._told = Answers(given, silent)
        self.asked: list[str] = []

    def join(self) -> None:
        """Do nothing: the number is given."""

    def ask(self, question: str, *, only: int | None = None) -> Answers:
        self.asked.append(question)
        if only is None:
            return self._told
        given = {k: v for k, v in self._told.given.items() if k == only}
        return Answers(given, tuple(n for n in self._told.silent if n == only))


def machine(hub: Hub, others: Colleagues) -> Machine:
    return Machine(
        "log",
        own=lambda number, clients: figures(hub, number, clients=clients),
        colleagues=others,
    )


def test_unreadable_answers_count_as_silence(busy: HandHub) -> None:
    """A worker of another version neither breaks a scrape nor is forgotten."""
    one = figures(busy.hub, 1).to_json()
    found = machine(busy.hub, Told({1: one, 4: b"{}"}, silent=(2,))).figures()
    assert [each.worker for each in found.workers] == [0, 1]
    assert found.silent == (2, 4)


def test_one_worker_can_be_asked_for(busy: HandHub) -> None:
    """The worker that answers asks nobody for its own figures."""
    others = Told({1: figures(busy.hub, 1).to_json()}, silent=(2,))
    ours = machine(busy.hub, others)
    assert [each.worker for each in ours.figures(worker=0).workers] == [0]
    assert others.asked == []
    assert [each.worker for each in ours.figures(worker=1).workers] == [1]
    assert ours.figures(worker=2).silent == (2,)
    nobody = ours.figures(worker=9)
    assert not nobody.workers
    assert not nobody.silent


def test_others_are_asked_for_streams_only_on_request(busy: HandHub) -> None:
    """Ten thousand streams are a long answer."""
    others = Told({})
    machine(busy.hub, others).figures(clients=True)
    machine(busy.hub, others).figures()
    assert [json.loads(each)["clients"] for each in others.asked] == [True, False]


def test_a_worker_without_a_place_for_sockets_answers_for_itself(
    busy: HandHub, tmp_path: Path
) -> None:
    """A read-only directory for temporary files costs the others' figures only."""
    (tmp_path / "file").touch()
    ours = machine(busy.hub, Colleagues("log", directory=tmp_path / "file"))
    assert [each.worker for each in ours.figures().workers] == [0]
