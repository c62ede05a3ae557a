"""The Redis broker: its log, what the log keeps, and gaps."""

import threading
import time
from types import SimpleNamespace

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers.redis import RedisBroker, arguments, stream
from flask_sse_hub.brokers.redis.entry import id_of
from flask_sse_hub.brokers.redis.stream import StreamLog
from flask_sse_hub.brokers.thread import Call
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, Disconnect, GapReason, Record, Retention
from flask_sse_hub.runtime.per_process import Home
from tests.kit.hand import KEEP_ALL, HandHub, fields
from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer
from tests.unit.brokers.redis_logs import EVENT, Open, first_gap, gap_after, publish


def test_an_id_among_ended_events_may_have_been_lost_in_a_failover(
    open_broker: Open, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is trusted only if no failover was seen after it."""
    monkeypatch.setattr(arguments, "SHORT_LIVED_RECORDS", 1)
    broker = open_broker()
    first = publish(broker)
    typing = [
        broker.publish(Record((BROADCAST,), Event("typing"), ttl=0.0)) for _ in range(3)
    ]
    publish(broker)
    last = publish(broker)
    lost = Cursor(first.epoch, typing[0].offset + 1)
    for place in (*typing, lost):
        records = broker.replay(place, page=9).records
        assert [each.cursor for each in records if each.ttl is None][-1] == last
    never = Cursor(first.epoch, last.offset - 1)
    assert broker.replay(never, page=9).gap is GapReason.EPOCH
    server.run("HSET", "sse-hub:{app}:retention", "unknown", id_of(last.offset))
    assert broker.replay(lost, page=9).gap is GapReason.EPOCH


def test_a_copied_read_in_a_forked_child_doubts_nothing(
    open_broker: Open, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child may receive the answer to its parent's next read, which has a gap."""
    broker = open_broker()
    publish(broker)
    last = publish(broker)
    follower = broker.follow(Cursor(last.epoch, last.offset - 1))
    # The fork happens while the read waits.
    forked = iter([False])
    monkeypatch.setattr(Home, "left", property(lambda _: next(forked, True)))
    assert list(follower) == []
    with server.connect() as client:
        assert client.hget("sse-hub:{app}:retention", "unknown") is None


def test_a_follower_compares_the_clocks(
    open_broker: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis's machine may be ahead, and events with a ttl end by its clock."""
    behind = SimpleNamespace(time=lambda: time.time() - 100, monotonic=time.monotonic)
    monkeypatch.setattr(stream, "time", behind)
    broker = open_broker()
    assert broker.clock_ahead == 0.0
    follower = broker.follow(broker.head())
    publish(broker)
    next(follower)
    assert 99 < broker.clock_ahead < 101


class TestLog:
    def test_each_name_is_a_log_of_its_own(self, open_broker: Open) -> None:
        """Apps with different names share a Redis and never see each other's events."""
        one, two = open_broker(name="one"), open_broker(name="two")
        head = two.head()
        publish(one)
        assert two.head() == head

    def test_two_logs_never_give_the_same_id(self, open_broker: Open) -> None:
        """Two servers that each believe to be alone still give different ids."""
        brokers = [open_broker(name=str(n)) for n in range(5)]
        offsets = [publish(broker).offset for broker in brokers for _ in range(20)]
        assert len(set(offsets)) == 100

    def test_many_events_of_one_moment_stay_in_order(self, open_broker: Open) -> None:
        """Beyond the numbers of one millisecond, offsets continue in the next one."""
        broker = open_broker()
        start = broker.head()
        publishers = [threading.Thread(target=publish, args=[broker, 100])] * 1
        for each in publishers:
            each.start()
        for each in publishers:
            each.join()
        records = broker.replay(start, page=1000).records
        offsets = [record.cursor.offset for record in records]
        assert offsets == sorted(set(offsets))
        assert len(offsets) == 100

    def test_an_idempotency_key_expires(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """A key holds for one to two days, by Redis's own clock."""
        key, day = "sse-hub:{app}:keys", 86_400_000
        broker = open_broker()
        first = broker.publish(Record((), Event("x"), idempotency_key="first"))
        assert 2 * day - 5_000 < server.run("PTTL", key) <= 2 * day
        server.run("PEXPIRE", key, day)
        broker.publish(Record((), Event("x"), idempotency_key="next day"))
        assert 2 * day - 5_000 < server.run("PTTL", key) <= 2 * day
        again = broker.publish(Record((), Event("x"), idempotency_key="first"))
        assert again == first
        assert day - 5_000 < server.run("PTTL", f"{key}-before") <= day

    def test_an_idempotency_key_that_outlived_its_log_is_ignored(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The key's event is lost, so the second publish is a new event."""
        keyed = Record((), Event("x"), idempotency_key="k")
        broker = open_broker()
        first = broker.publish(keyed)
        server.run("DEL", "sse-hub:{app}:log")
        publish(broker)
        second = broker.publish(keyed)
        assert second.epoch != first.epoch
        assert broker.publish(keyed) == second == broker.head()

    def test_events_expire_by_age(self, open_broker: Open) -> None:
        """Events expire even while nothing is published."""
        broker = open_broker(retention=Retention(100, 0.5, 100_000))
        start = broker.head()
        last = broker.publish(EVENT)
        wait_until(lambda: gap_after(broker, start) is GapReason.EXPIRED)
        wait_until(lambda: broker.tail(10**9) == last)
        assert gap_after(broker, last) is None

    def test_a_clock_that_is_ahead_of_redis_expires_nothing(
        self, open_broker: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The age of an event is judged by the clock that has given its time."""
        broker = open_broker(retention=Retention(100, 3600.0, 100_000))
        start = publish(broker)
        last = publish(broker)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 86_400.0)
        assert gap_after(broker, start) is None
        assert broker.tail(10**9) < start
        assert broker.head() == last

    def test_old_entries_are_trimmed_by_age(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The next append trims them, and keeps the newest entry."""
        broker = open_broker(retention=Retention(100, 0.001, 100_000))
        publish(broker, 3)

        def only_the_newest() -> bool:
            publish(broker)
            return bool(server.run("XLEN", "sse-hub:{app}:log") == 1)

        wait_until(only_the_newest)

    def test_scripts_that_redis_forgot_are_loaded_again(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """Loading them again publishes nothing twice."""
        broker = open_broker()
        before = publish(broker)
        server.run("SCRIPT", "FLUSH")
        publish(broker)
        assert len(broker.replay(before, page=9).records) == 1

    @pytest.mark.parametrize("data", ["small", "x" * 1_000_000])
    def test_appends_and_questions_return_ids_alone(
        self, open_broker: Open, server: RedisServer, data: str
    ) -> None:
        """The bodies of the log cross the network only when records are delivered."""
        broker = open_broker()
        last = [broker.publish(Record((), Event(data))) for _ in range(3)][-1]
        follower = broker.follow(last)
        before = _sent_bytes(server)
        assert broker.head() == last
        assert broker.tail(10**9) < last
        assert broker.tail(0) == last
        assert broker.replay(last, page=9).records == ()
        publish(broker)
        assert next(follower).gap is None
        assert _sent_bytes(server) - before < 20_000

    def test_an_append_reads_no_entry(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The script finds the end of the log in a note, unless the log was changed."""
        broker = open_broker()
        publish(broker, 3)
        assert _calls(server, "xrevrange") == 0
        server.run("XADD", "sse-hub:{app}:log", "*", "a", "b")
        publish(broker, 3)
        assert _calls(server, "xrevrange") == 2

    def test_a_tail_of_a_large_log_is_found_in_one_call(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """A far server and a log larger than a worker's memory are no trouble."""
        broker = open_broker()
        publish(broker, 200)
        scripts = _calls(server, "evalsha")
        tail = broker.tail(50 * EVENT.size)
        assert _calls(server, "evalsha") - scripts <= 2
        assert 37 <= len(broker.replay(tail, page=200).records) <= 50

    def test_the_heads_asked_for_together_are_one_question(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """A thousand clients that come back at once are one question to Redis."""
        broker = open_broker()
        last = publish(broker)
        calls = [Call(StreamLog.head) for _ in range(100)]
        scripts = _calls(server, "evalsha")
        broker._read(calls)
        assert {call.wait(0.0) for call in calls} == {last}
        assert _calls(server, "evalsha") - scripts <= 1

    def test_a_head_that_cannot_be_read_fails_for_all_at_once(
        self, open_broker: Open
    ) -> None:
        """Callers do not wait for one time-out each; those that left are skipped."""
        broker = open_broker(f"redis://{HOST}:{free_port()}")
        asked = []

        def away(stream: object) -> None:
            asked.append(stream)
            raise BrokerUnavailable("away")

        calls = [Call(away), *(Call(StreamLog.head) for _ in range(9))]
        calls[0].given_up = True
        broker._read(calls)
        errors = set()
        for call in calls[1:]:
            with pytest.raises(BrokerUnavailable) as caught:
                call.wait(0.0)
            errors.add(caught.value)
        assert (len(errors), asked) == (1, [])


def _sent_bytes(server: RedisServer) -> int:
    with server.connect() as client:
        return int(client.info("stats")["total_net_output_bytes"])


def _calls(server: RedisServer, command: str) -> int:
    with server.connect() as client:
        found = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
        return int(found["calls"])


class TestRetention:
    @pytest.mark.parametrize(
        "retention",
        [
            Retention(10_000, 1e10, 10_000_000),
            Retention(10**20, 3600.0, 10_000_000),
            Retention(10_000, 3600.0, 10**40),
        ],
        ids=["seconds", "events", "bytes"],
    )
    def test_numbers_beyond_those_of_redis_mean_no_bound(
        self, open_broker: Open, retention: Retention
    ) -> None:
        """A very large number does not fail an append half-way."""
        assert publish(open_broker(retention=retention), 3)

    @pytest.mark.parametrize("flushed", [False, True])
    def test_workers_that_only_serve_bound_the_log_of_publishers(
        self, open_broker: Open, server: RedisServer, flushed: bool
    ) -> None:
        """A worker notes its retention when it starts, and again in a new log."""
        broker = open_broker(retention=Retention(10, 3600.0, 10_000_000))
        HandHub(broker)
        if flushed:
            follower = broker.follow(broker.head())
            server.run("FLUSHALL")
            assert first_gap(follower) is GapReason.EPOCH
        publisher = open_broker(retention=None)
        publish(publisher, 30)
        assert server.run("XLEN", "sse-hub:{app}:log") == 10

    def test_an_append_that_begins_a_log_notes_the_retention(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The next publisher may be a script that has no retention of its own."""
        broker = open_broker(retention=Retention(10, 3600.0, 10_000_000))
        publish(broker)
        server.run("FLUSHALL")
        publish(broker)
        publish(open_broker(retention=None), 30)
        assert server.run("XLEN", "sse-hub:{app}:log") == 10


class TestGaps:
    """After any loss in the log, no event is skipped silently and no id used twice."""

    @pytest.mark.parametrize("command", ["FLUSHALL", "DEL sse-hub:{app}:log"])
    def test_a_flush_or_an_eviction_is_a_gap(
        self, open_broker: Open, server: RedisServer, command: str
    ) -> None:
        """The gap is noticed even if nothing is published afterwards."""
        broker = open_broker()
        last = publish(broker, 3)
        follower = broker.follow(last)
        server.run(*command.split())
        assert first_gap(follower) is GapReason.EPOCH
        assert gap_after(broker, last) is GapReason.EPOCH
        assert publish(broker).epoch != last.epoch

    def test_a_flush_between_two_events_is_a_gap(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The new log's first event does not look like the old log's next one."""
        broker = open_broker()
        last = publish(broker, 3)
        follower = broker.follow(last)
        server.run("FLUSHALL")
        publish(broker)
        assert first_gap(follower) is GapReason.EPOCH

    def test_a_log_trimmed_below_a_follower_is_a_gap(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """Events that were trimmed while the follower was paused are a gap."""
        broker = open_broker()
        start = publish(broker)
        publish(broker, 5)
        server.run("XTRIM", "sse-hub:{app}:log", "MAXLEN", 2)
        assert first_gap(broker.follow(start)) is GapReason.EXPIRED
        assert gap_after(broker, start) is GapReason.EXPIRED

    def test_a_failover_to_a_replica_that_lacks_the_tail_is_a_gap(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """Followers report a gap, and no lost id ever stands for another event."""
        broker = open_broker()
        publish(broker, 3)
        with RedisServer("--replicaof", f"{HOST} {server.port}") as replica:
            wait_until(lambda: replica.run("XLEN", "sse-hub:{app}:log") == 3)
            replica.run("REPLICAOF", "NO", "ONE")
            lost = [publish(broker) for _ in range(3)]
            follower = broker.follow(lost[-1])
            server.kill()
            replica.run("CONFIG", "SET", "port", server.port)
            assert first_gap(follower) is GapReason.AHEAD
            again = [publish(broker) for _ in range(6)]
            assert not set(lost) & set(again)
            assert {gap_after(broker, cursor) for cursor in lost} == {GapReason.EPOCH}
            follower = broker.follow(lost[-1])
            assert first_gap(follower) is GapReason.EPOCH

    def test_a_client_with_a_lost_id_is_reset(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The worker's memory holds older and newer events, and that is not enough."""
        broker = open_broker()
        hub = HandHub(broker)
        hub.publish("before")
        lost = publish(broker)
        server.run("XDEL", "sse-hub:{app}:log", _entry_id(lost))
        hub.publish("after")
        hub.bring()
        other = HandHub(open_broker())
        other.publish("later")
        other.bring()
        stream, _ = other.open(last_event_id=str(lost))
        (reset,) = stream.read()
        assert fields(reset) == {"reason": "epoch"}

    def test_a_hole_in_the_log_is_not_passed_over(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The entry after a deleted one reveals that it is missing."""
        broker = open_broker()
        start = publish(broker)
        gone = publish(broker)
        publish(broker)
        server.run("XDEL", "sse-hub:{app}:log", _entry_id(gone))
        assert first_gap(broker.follow(start)) is not None

    def test_a_restart_loses_nothing_that_redis_kept(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """Followers reconnect and read on, without a reset."""
        broker = open_broker()
        start = broker.head()
        follower = broker.follow(start)
        publish(broker)
        assert len(next(follower).records) == 1
        other = open_broker()
        server.kill()
        server.start()
        publish(other)
        batch = next(follower)
        assert (len(batch.records), batch.gap) == (1, None)

    def test_events_lost_in_a_restart_are_a_gap(self) -> None:
        """A Redis that keeps nothing on disk begins a new log."""
        with RedisServer("--appendonly", "no") as server:
            broker = RedisBroker(server.url, KEEP_ALL, name="app")
            last = publish(broker, 3)
            follower = broker.follow(last)
            server.kill()
            server.start()
            assert first_gap(follower) is GapReason.EPOCH
            broker.close()


def _entry_id(cursor: Cursor) -> str:
    return f"{cursor.offset >> 18}-{cursor.offset & 0x3FFFF}"


def test_a_disconnect_is_a_record_like_any_other(open_broker: Open) -> None:
    """A logout on one machine closes the user's streams on every machine."""
    one, two = HandHub(open_broker()), HandHub(open_broker())
    stream = two.stream(user="alice")
    one.broker.publish(Record(("u:alice",), Disconnect("disconnected")))  # type: ignore[arg-type]
    two.bring()
    assert stream.read() == []
    assert stream.ended


class TestConcerns:
    """Faults of the surroundings, as the doctor shows them."""

    def test_a_redis_that_evicts(self, open_broker: Open, server: RedisServer) -> None:
        """The log may be gone at any moment."""
        broker = open_broker()
        assert list(broker.concerns()) == []
        server.run("CONFIG", "SET", "maxmemory", "100mb")
        server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        ((text, cure),) = broker.concerns()
        assert "allkeys-lru" in text
        assert "noeviction" in cure

    def test_a_redis_that_is_away(self, open_broker: Open, server: RedisServer) -> None:
        """Its error is the concern."""
        broker = open_broker()
        server.stop()
        ((text, _),) = broker.concerns()
        assert text.startswith("Redis: ")
