"""A checker for fairness: no reset without a loss of one's own, no loss without one."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.channel_patterns import covers
from flask_sse_hub.events.record import Retention
from tests.kit.hand import HandHub
from tests.kit.sse_parser import ParsedEvent

CHANNELS = ("busy", "calm", "quiet", "quiet.room", "quiet.room.7")
SUBSCRIPTIONS = (*CHANNELS, "quiet.*", "quiet.room.*")


def faults_of(
    log: Sequence[tuple[int, str, str]],
    received: Sequence[ParsedEvent],
    *,
    channels: Sequence[str],
    last_seen: int,
    kept: int,
) -> list[str]:
    """Compare the events of a client that resumed with the log.

    ``log`` has the number, channel and data of each event. The client had seen all up
    to the number ``last_seen``; the last ``kept`` events of the log are not trimmed.
    """
    missed = [
        entry
        for entry in log
        if entry[0] > last_seen and any(covers(each, entry[1]) for each in channels)
    ]
    lost = [entry for entry in missed if entry[0] <= len(log) - kept]
    is_reset = any(event.type == "reset" for event in received)
    got = [event.data for event in received if event.type == "message"]
    if is_reset and not lost:
        return ["a reset without a loss"]
    if not is_reset and lost:
        return [f"no reset for the loss of {lost}"]
    expected = [] if is_reset else [data for _, _, data in missed]
    return [] if got == expected else [f"{got} instead of {expected}"]


@pytest.mark.parametrize("started_anew", [False, True])
@settings(deadline=None, max_examples=60)
@given(
    before=st.lists(st.sampled_from(CHANNELS), max_size=8),
    after=st.lists(st.sampled_from(CHANNELS), max_size=12),
    channels=st.sets(st.sampled_from(SUBSCRIPTIONS), min_size=1),
    kept=st.integers(1, 6),
    held=st.integers(1, 6),
)
def test_a_client_is_reset_if_and_only_if_it_lost_an_event(
    started_anew: bool,
    before: list[str],
    after: list[str],
    channels: set[str],
    kept: int,
    held: int,
) -> None:
    """For any traffic and any history in the broker and in the worker's memory."""
    broker = MemoryBroker(Retention(kept, 3600.0, 10_000_000))
    # A worker that holds more than the broker would hide losses.
    memory = Retention(min(held, kept), 3600.0, 10_000_000)
    hub = HandHub(broker, memory=memory)
    heard = tuple(sorted(channels))
    stream, (connected,) = hub.open(channels=heard)
    last_id = connected.id
    log: list[tuple[int, str, str]] = []

    def publish(names: list[str]) -> None:
        for name in names:
            number = len(log) + 1
            log.append((number, name, str(number)))
            hub.publish(str(number), to=address.channel(name))
            hub.bring()

    publish(before)
    seen = 0
    for event in stream.read():
        if event.type in ("message", "reset"):
            seen, last_id = int(event.id.rpartition("-")[2]), event.id
    stream.drop()
    publish(after)
    if started_anew:
        hub = HandHub(broker, memory=memory)
    again, _ = hub.open(channels=heard, last_event_id=last_id)
    faults = faults_of(log, again.read(), channels=heard, last_seen=seen, kept=kept)
    assert faults == []


@pytest.mark.parametrize(
    ("received", "fault"),
    [
        ([ParsedEvent("reset", "", "")], []),
        ([ParsedEvent("message", "2", "")], ["no reset for the loss of"]),
        ([], ["no reset for the loss of"]),
    ],
)
def test_the_checker_finds_a_loss(
    received: list[ParsedEvent], fault: list[str]
) -> None:
    """A checker that finds nothing proves nothing."""
    log = [(1, "quiet", "1"), (2, "quiet", "2")]
    found = faults_of(log, received, channels=["quiet"], last_seen=0, kept=1)
    assert len(found) == len(fault)
    assert all(text in each for text, each in zip(fault, found, strict=True))


def test_the_checker_finds_a_false_reset() -> None:
    """The client lost nothing: both events went to another channel."""
    log = [(1, "busy", "1"), (2, "busy", "2")]
    reset = [ParsedEvent("reset", "", "")]
    found = faults_of(log, reset, channels=["quiet"], last_seen=0, kept=1)
    assert found == ["a reset without a loss"]
