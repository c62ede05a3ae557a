"""The cost of presence, beside the same work without it.

``python -m benchmarks.presence`` prints CPU times of one process, and ratios to a
baseline of the same run: streams that open and end, people who join a channel, and
events of a channel without presence while others have it. Workers share a log in
memory, and the sockets are left out.
"""

import cProfile
import gc
import time
from collections.abc import Callable

from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Retention
from flask_sse_hub.hub.clients.close_reason import CloseReason
from flask_sse_hub.hub.clients.present_client import Seat
from flask_sse_hub.testing import Clock
from tests.kit.hand import HandHub, HandStream
from tests.kit.people import Worker

#: A log that keeps all of a run.
KEEP = Retention(
    events=1_000_000,
    seconds=3600.0,
    bytes=1_000_000_000,
    state_keys=1_000_000,
    state_bytes=1_000_000_000,
)
_NEWS = address.channel("news")
_STREAMS = 5_000
_EVENTS = 2_000


def _cpu(work: Callable[[], object]) -> float:
    gc.collect()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def worker(broker: MemoryBroker | None = None, *, memory: Retention = KEEP) -> Worker:
    """Return a worker with presence, whose steps the caller makes."""
    return Worker(
        broker or MemoryBroker(KEEP),
        Clock(),
        memory=memory,
        max_clients=100_000,
        presence_people=100_000,
    )


def open_stream(hub: HandHub, number: int, channel: str, *, seated: bool) -> HandStream:
    """Open a stream of a user. With ``seated`` the user is present in the channel."""
    user = f"user-{number}"
    seats = {"seats": [Seat(channel, user)]} if seated else {}
    return hub.stream(user=user, channels=(channel,), **seats)


def settle(*workers: Worker) -> None:
    """Let workers work until none has anything to do now."""
    before = None
    while (head := workers[0].broker.head()) != before:
        before = head
        for worker in workers * 2:
            worker.bring()
            worker.roster.step()


def _connects() -> None:
    """Compare streams that open and end."""

    def work(hub: HandHub, *, seated: bool) -> None:
        for number in range(_STREAMS):
            open_stream(hub, number, "room.7", seated=seated).drop()

    plain, present = HandHub(MemoryBroker(KEEP)), worker()
    without = _cpu(lambda: work(plain, seated=False))
    with_it = _cpu(lambda: work(present, seated=True))
    print(
        f"a stream that opens and ends: {without / _STREAMS * 1e6:.0f} us, with"
        f" presence {with_it / without:.2f} x"
    )


def _joins(name: str, *, channels: int, people: int) -> None:
    """Joins beside plain events, followed on a second worker."""
    broker = MemoryBroker(KEEP)
    one, two = worker(broker), worker(broker)
    count = channels * people

    def publish() -> None:
        for number in range(_EVENTS):
            one.publish(str(number), to=_NEWS)
        one.bring()
        two.bring()

    plain = _cpu(publish) / _EVENTS
    for number in range(count):
        open_stream(one, number, f"room.{number % channels}", seated=True)
    before = one.broker.head().offset
    took = _cpu(lambda: settle(one, two)) / count
    joins = one.broker.head().offset - before
    late = _cpu(lambda: worker(broker))
    asked = _cpu(lambda: [two.users("room.0") for _ in range(10)]) / 10
    listed = len(two.users("room.0"))
    print(
        f"{name}: a join costs {took / plain:.2f} x an event of {plain * 1e6:.0f} us on"
        f" two workers, {joins / count:.3f} records each; a third worker begins in"
        f" {late:.2f} s; present() of {listed}"
        f" takes {asked * 1e3:.2f} ms"
    )
    _storm(one, two)


def _storm(one: Worker, two: Worker) -> None:
    """Let all streams of a worker go over to another one, as after a restart."""
    streams = one.hub.clients()
    seats = [client.seats for client in streams]  # type: ignore[attr-defined]
    before = one.broker.head().offset
    for client in streams:
        one.hub.leave(client, CloseReason.CLIENT_GONE)
    for (seat,) in seats:
        two.stream(user=seat.user, channels=(seat.channel,), seats=[seat])
    settle(one, two)
    one.clock.advance(3.0)
    settle(one, two)
    records = one.broker.replay(one.broker.head()._replace(offset=before), page=10**6)
    seen = [each for each in records.records if not each.is_internal]
    print(f"  {len(streams)} people change their worker: {len(seen)} joins and leaves")


def _fan_out() -> None:
    """Compare events of a channel without presence, and with a receipt.

    The baseline has as many streams, whose users are not present: the collector of
    garbage and the caches of the machine pay for them too. The numbers of calls are
    exact, and the times depend on what else the machine does.
    """

    def work(hub: HandHub, *, receipt: bool = False) -> None:
        for number in range(_EVENTS):
            hub.publish(str(number), to=_NEWS, receipt=receipt)
        hub.bring()

    hubs = {seated: worker() for seated in (False, True)}
    for seated, hub in hubs.items():
        for number in range(_STREAMS):
            open_stream(hub, number, "room.7", seated=seated)
        settle(hub)
        for number in range(100):
            open_stream(hub, number, "news", seated=False)
    plain, present = hubs[False], hubs[True]
    rounds = [
        (
            _cpu(lambda: work(plain)),
            _cpu(lambda: work(present)),
            _cpu(lambda: work(plain, receipt=True)),
        )
        for _ in range(7)
    ]
    without, with_it, receipt = map(min, zip(*rounds, strict=True))
    print(
        f"an event for 100 streams: {without / _EVENTS * 1e6:.0f} us and"
        f" {_calls(lambda: work(plain)):.0f} calls; while another channel has"
        f" {_STREAMS} people {with_it / without:.2f} x and"
        f" {_calls(lambda: work(present)):.0f} calls; with a receipt"
        f" {receipt / without:.2f} x"
    )


def _calls(work: Callable[[], object]) -> float:
    """Return the number of function calls for each event."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(each.callcount for each in profile.getstats()) / _EVENTS


def main() -> None:
    """Print all figures."""
    _connects()
    _fan_out()
    _joins("10,000 people in one channel", channels=1, people=10_000)
    _joins("10,000 channels of 5", channels=10_000, people=5)


if __name__ == "__main__":
    main()
