"""Behaviour of the Redis broker alone: URLs, faults, gaps, number of connections."""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from redis.sentinel import SentinelConnectionPool

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers import LogBatch, check_url
from flask_sse_hub.brokers.redis import RedisBroker
from flask_sse_hub.brokers.redis.scripts import APPEND, JUDGE, TAIL
from flask_sse_hub.brokers.redis.stream import StreamLog
from flask_sse_hub.brokers.redis.trimming import BRIDGE
from flask_sse_hub.brokers.redis.url import _IGNORED, connector
from flask_sse_hub.brokers.thread import Call
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Cursor, Disconnect, GapReason, Record, Retention
from flask_sse_hub.runtime import native
from flask_sse_hub.testing import Clock
from tests.documented.samples import ROOT, sample
from tests.kit.forgetful_proxy import ForgetfulProxy
from tests.kit.hand import KEEP_ALL, HandHub, fields
from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer, SentinelServer

#: The command of the page that gives a user the rights it needs.
ACL = sample("docs/brokers.md", "text", with_="ACL SETUSER")

EVENT = Record((BROADCAST,), Event("x"))

#: The promise is two seconds; the rest is for a busy machine.
SOON = 3.0

Open = Callable[..., RedisBroker]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def open_broker(server: RedisServer) -> Iterator[Open]:
    """Return a function that opens the log again, as another process would."""
    opened: list[RedisBroker] = []

    def open_broker(
        url: str = server.url, retention: Retention | None = KEEP_ALL, name: str = "app"
    ) -> RedisBroker:
        opened.append(RedisBroker(url, retention, name=name))
        return opened[-1]

    yield open_broker
    for broker in opened:
        broker.close()


def publish(broker: RedisBroker, count: int = 1) -> Cursor:
    """Publish some events; return the last one's cursor."""
    for _ in range(count):
        cursor = broker.publish(EVENT)
    return cursor


def first_gap(follower: Iterator[LogBatch]) -> GapReason | None:
    return next(batch.gap for batch in follower if batch.gap is not None)


def gap_after(broker: RedisBroker, cursor: Cursor) -> GapReason | None:
    return broker.replay(cursor, page=9).gap


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


class TestRights:
    """Rights that a user of Redis lacks cost no event, and publish none twice."""

    RULES = ACL.partition("-@all ")[2]

    @pytest.fixture
    def url(self, server: RedisServer) -> str:
        """The URL of a user with the rights that the documentation lists."""
        server.run("ACL", "SETUSER", "hub", "on", ">s3cret", "~sse-hub:*")
        server.run("ACL", "SETUSER", "hub", "-@all", *self.RULES.split())
        return f"redis://hub:s3cret@{HOST}:{server.port}/1"

    def test_the_rights_of_the_documentation_are_enough(
        self, open_broker: Open, server: RedisServer, url: str
    ) -> None:
        """Each command of the scripts is allowed, and all calls work."""
        commands = set(
            re.findall(r"redis\.call\('(\w+)'", APPEND + BRIDGE + JUDGE + TAIL)
        )
        allowed = set(self.RULES.upper().replace("+", "").split())
        assert commands <= allowed
        broker = open_broker(url, Retention(3, 3600.0, 2 * EVENT.size))
        hub = HandHub(broker)
        for number in range(9):
            keyed = Record((), Event("x"), idempotency_key=str(number % 3))
            broker.publish(keyed)
            hub.publish("x")
        hub.bring()
        follower = broker.follow(broker.head())
        publish(broker)
        assert len(next(follower).records) == 1

    @pytest.mark.parametrize(
        "command", sorted(set(re.findall(r"'(X\w+|H\w+|P\w+|UN\w+|REN\w+)'", APPEND)))
    )
    def test_a_refused_command_publishes_nothing(
        self, open_broker: Open, server: RedisServer, url: str, command: str
    ) -> None:
        """After the error, the same key publishes the event, exactly once."""
        broker = open_broker(url, Retention(3, 3600.0, 4 * EVENT.size))
        for number in range(9):
            keyed = Record((), Event("x"), idempotency_key=str(number))
            broker.publish(keyed)
        server.run("XADD", "sse-hub:{app}:log", "*", "a", "b")
        server.run("PEXPIRE", "sse-hub:{app}:keys", 86_400_000)
        head = broker.head()
        server.run("ACL", "SETUSER", "hub", f"-{command}")
        keyed = Record((BROADCAST,), Event("once"), idempotency_key="once")
        for _ in range(2):
            with suppress(BrokerUnavailable):
                broker.publish(keyed)
        server.run("ACL", "SETUSER", "hub", f"+{command}")
        last = broker.publish(keyed)
        replay = broker.replay(head, page=9)
        assert [record.content for record in replay.records] == [Event("once")]
        assert last == broker.head() != head

    def test_rights_that_are_missing_are_named(
        self, open_broker: Open, server: RedisServer, url: str
    ) -> None:
        """The error says where the rights are listed."""
        server.run("ACL", "SETUSER", "hub", "-xadd")
        with pytest.raises(BrokerUnavailable, match="rights"):
            publish(open_broker(url))


class TestEviction:
    @pytest.mark.parametrize("policy", ["volatile-lru", "allkeys-lru", "noeviction"])
    def test_a_policy_that_evicts_is_warned_of_once(
        self,
        open_broker: Open,
        server: RedisServer,
        caplog: pytest.LogCaptureFixture,
        policy: str,
    ) -> None:
        """A follower that starts names the policy, and what to set."""
        server.run("CONFIG", "SET", "maxmemory", 10**9, "maxmemory-policy", policy)
        broker = open_broker()
        follower = broker.follow(broker.head())
        for _ in range(2):
            publish(broker)
            next(follower)
        warned = caplog.text.count(f"(maxmemory-policy {policy})")
        assert warned == (policy != "noeviction")

    def test_a_user_who_may_not_ask_for_the_policy_follows(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The warning is a help, and no condition."""
        server.run("ACL", "SETUSER", "hub", "on", "nopass", "~*", "+@all", "-info")
        broker = open_broker(f"redis://hub:x@{HOST}:{server.port}")
        follower = broker.follow(broker.head())
        publish(broker)
        assert len(next(follower).records) == 1

    def test_a_redis_without_the_question_is_followed(self, open_broker: Open) -> None:
        """Some services have renamed or removed commands that tell about the server."""
        with RedisServer("--rename-command", "INFO", "") as server:
            broker = open_broker(server.url)
            follower = broker.follow(broker.head())
            publish(broker)
            assert len(next(follower).records) == 1

    @pytest.mark.parametrize(
        "retention",
        [Retention(5, 3600.0, 10**7), Retention(10**4, 0.05, 10**7)],
        ids=["events", "seconds"],
    )
    def test_a_full_memory_is_no_trouble_for_a_log_at_its_own_limit(
        self, open_broker: Open, server: RedisServer, retention: Retention
    ) -> None:
        """The log is trimmed first, which makes room for the new event."""
        broker = open_broker()
        publish(broker, 5)
        server.run("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            publish(broker)
        other = open_broker(retention=retention)
        wait_until(lambda: _works(other))


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


class TestFaults:
    def test_a_server_that_is_away_is_reported_soon(self, open_broker: Open) -> None:
        """Every call fails with the reason, and none hangs."""
        broker = open_broker(f"redis://{HOST}:{free_port()}")
        asks: list[Callable[[], object]] = [
            lambda: publish(broker),
            broker.head,
            lambda: broker.tail(9),
        ]
        for ask in asks:
            started = time.monotonic()
            with pytest.raises(BrokerUnavailable, match="refused"):
                ask()
            assert time.monotonic() - started < SOON

    def test_a_server_that_does_not_answer_is_reported_soon(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """A call fails within two seconds, and works when the server answers again."""
        broker = open_broker()
        follower = broker.follow(publish(broker))
        server.pause()
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            publish(broker)
        with pytest.raises(BrokerUnavailable):
            open_broker().publish(EVENT)
        assert time.monotonic() - started < 2 * SOON
        server.resume()
        wait_until(lambda: _works(broker))
        records: list[Record] = []
        while not records:
            records += next(follower).records

    def test_callers_of_a_dead_server_do_not_wait_in_a_row(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """Fifty calls at the same time all fail within two seconds."""
        broker = open_broker()
        publish(broker)
        server.pause()
        errors: list[BrokerUnavailable] = []

        def fail() -> None:
            with pytest.raises(BrokerUnavailable) as caught:
                publish(broker)
            errors.append(caught.value)

        started = time.monotonic()
        publishers = [threading.Thread(target=fail) for _ in range(50)]
        for each in publishers:
            each.start()
        for each in publishers:
            each.join()
        assert len(errors) == 50
        assert time.monotonic() - started < SOON

    def test_a_full_memory_is_reported(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The error names the limit, and publishing works again when there is room."""
        broker = open_broker()
        head = publish(broker)
        server.run("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            publish(broker)
        server.run("CONFIG", "SET", "maxmemory", 0)
        assert broker.head() == head
        publish(broker)

    def test_a_key_of_another_program_is_reported(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The error says how to cure it, for a plain value and for a foreign stream."""
        server.run("SET", "sse-hub:{app}:log", "not a stream")
        with pytest.raises(BrokerUnavailable, match="another SSE_HUB_NAME"):
            publish(open_broker())
        server.run("XADD", "sse-hub:{other}:log", "*", "a", "b")
        other = open_broker(name="other")
        with pytest.raises(BrokerUnavailable, match="another SSE_HUB_NAME"):
            other.head()
        assert publish(other) == other.head()

    def test_a_replica_is_read_only(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """Publishing to a replica fails, and the error asks for the master."""
        with RedisServer("--replicaof", f"{HOST} {server.port}") as replica:
            publish(open_broker())
            wait_until(lambda: replica.run("EXISTS", "sse-hub:{app}:log"))
            with pytest.raises(BrokerUnavailable, match="master"):
                publish(open_broker(replica.url))


def _works(broker: RedisBroker) -> bool:
    try:
        publish(broker)
    except BrokerUnavailable:
        return False
    return True


class TestForgottenConnections:
    """A NAT or a load balancer forgets connections that carry nothing."""

    @pytest.mark.parametrize("way", ["silent", "reset"])
    @pytest.mark.parametrize("call", ["append", "head", "tail", "replay"])
    def test_a_silent_connection_is_checked_before_it_is_used(
        self, server: RedisServer, way: Literal["silent", "reset"], call: str
    ) -> None:
        """The next call uses a new connection, and publishes exactly once."""
        clock = Clock()
        with ForgetfulProxy(server.port) as proxy:
            url = f"redis://{HOST}:{proxy.port}"
            stream = StreamLog(
                connector(url), KEEP_ALL, name="app", timeout=1.5, clock=clock
            )
            calls: dict[str, Callable[[], object]] = {
                "append": lambda: stream.append([EVENT])[0],
                "head": stream.head,
                "tail": lambda: stream.tail(0),
                "replay": lambda: stream.replay(before, page=9).cursor,
            }
            stream.append([EVENT])
            before = stream.head()
            proxy.forget(way)
            clock.advance(2.5)
            assert isinstance(calls[call](), Cursor)
            assert proxy.opened == 2
            count = 1 + (call == "append")
            assert server.run("XLEN", "sse-hub:{app}:log") == count
            stream.close()

    def test_an_append_that_was_sent_is_not_sent_again(
        self, server: RedisServer
    ) -> None:
        """A connection that was used a moment ago is trusted; its end is an error."""
        clock = Clock()
        with ForgetfulProxy(server.port) as proxy:
            url = f"redis://{HOST}:{proxy.port}"
            stream = StreamLog(
                connector(url), KEEP_ALL, name="app", timeout=0.2, clock=clock
            )
            stream.append([EVENT])
            proxy.forget("silent")
            clock.advance(1.0)
            with pytest.raises(BrokerUnavailable):
                stream.append([EVENT])
            assert server.run("XLEN", "sse-hub:{app}:log") == 1
            assert proxy.opened == 1
            stream.close()

    def test_the_kernel_probes_silent_connections(self, open_broker: Open) -> None:
        """The probes come before the usual limits of NATs and load balancers."""
        stream = open_broker()._appending
        stream.head()
        connection = stream._client.connection_pool.get_connection()
        idle = connection._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert idle <= 60


class TestConnections:
    def test_a_process_has_three_at_most(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The number does not depend on the threads that publish, read and follow."""
        broker = open_broker()
        follower = broker.follow(broker.head())
        publishers = [threading.Thread(target=publish, args=[broker, 20])] * 1
        publishers += [threading.Thread(target=broker.head) for _ in range(20)]
        for each in publishers:
            each.start()
        for each in publishers:
            each.join()
        next(follower)
        assert len(_clients(server)) == 3

    def test_closing_leaves_none(self, open_broker: Open, server: RedisServer) -> None:
        """Closing ends the broker's own connections and those of its followers."""
        broker = open_broker()
        follower = broker.follow(broker.head())
        publish(broker)
        next(follower)
        broker.close()
        assert next(follower, None) is None
        wait_until(lambda: not _clients(server))

    def test_a_real_thread_may_publish(self, open_broker: Open) -> None:
        """Publishing works beside gevent too, where a socket belongs to one thread."""
        broker = open_broker()
        follower = broker.follow(broker.head())
        start_thread = native.original("_thread", "start_new_thread")
        published: list[Cursor] = []
        start_thread(lambda: published.append(broker.publish(EVENT)), ())
        assert next(follower).records[0].content == Event("x")
        wait_until(lambda: published)


def _clients(server: RedisServer) -> list[str]:
    return [
        client["name"]
        for client in server.connect().client_list()
        if client["name"] == "sse-hub"
    ]


class TestUrls:
    def test_a_url_with_a_password(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The right password works, and the error about a wrong one hides it."""
        url = f"redis://:s3cret@{HOST}:{server.port}/0"
        server.run("CONFIG", "SET", "requirepass", "s3cret")
        publish(open_broker(url))
        with pytest.raises(BrokerUnavailable) as caught:
            publish(open_broker(url.replace("s3cret", "wr0ng")))
        assert "wr0ng" not in str(caught.value)

    def test_a_url_with_a_database(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """The log is written to the database of the URL's number."""
        publish(open_broker(f"redis://{HOST}:{server.port}/3"))
        assert server.run("DBSIZE") == 0

    def test_a_url_of_a_unix_socket(self, open_broker: Open) -> None:
        """A Redis on the same machine needs no port."""
        with RedisServer("--unixsocket", "redis.sock") as server:
            publish(open_broker(f"unix://{server.folder}/redis.sock?db=0"))
            assert server.run("EXISTS", "sse-hub:{app}:log") == 1

    def test_a_url_with_tls(self, open_broker: Open, tmp_path: Path) -> None:
        """The server is trusted by the certificate in the URL, and not without it."""
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        command = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
        )
        files = ["-keyout", str(key), "-out", str(certificate)]
        names = ["-addext", f"subjectAltName=IP:{HOST}"]
        subprocess.run(
            [*command.split(), *files, *names], check=True, stderr=subprocess.DEVNULL
        )
        tls_port = free_port()
        files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
        args = ["--tls-port", str(tls_port), "--tls-auth-clients", "no", *files]
        with RedisServer(*args, "--tls-ca-cert-file", str(certificate)):
            url = f"rediss://{HOST}:{tls_port}/0"
            publish(open_broker(f"{url}?ssl_ca_certs={certificate}"))
            with pytest.raises(BrokerUnavailable, match=r"(?i)certificate"):
                publish(open_broker(url))

    def test_a_url_of_sentinels_leads_to_the_master(
        self, open_broker: Open, server: RedisServer
    ) -> None:
        """After a failover, it leads to the new master without help."""
        with (
            RedisServer("--replicaof", f"{HOST} {server.port}") as replica,
            SentinelServer("main", server) as sentinel,
        ):
            broker = open_broker(f"redis+sentinel://{HOST}:{sentinel.port}/main/0")
            last = publish(broker)
            follower = broker.follow(last)
            wait_until(lambda: replica.run("EXISTS", "sse-hub:{app}:log"))
            wait_until(lambda: sentinel.run("SENTINEL", "REPLICAS", "main"))
            server.kill()
            wait_until(lambda: _works(broker), within=30.0)
            batch = next(follower)
            assert (batch.gap, batch.records[0].content) == (None, Event("x"))

    def test_the_documented_options_of_a_shared_url_are_accepted(
        self, open_broker: Open, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An app that shares its URL with other libraries starts and works."""
        caplog.set_level("INFO")
        rows = re.findall(r"\| (`.+) \| (\w+)", (ROOT / "docs/brokers.md").read_text())
        ignored = {
            name
            for names, what in rows
            if what == "ignored"
            for name in re.findall(r"`(\w+)`", names)
        }
        assert ignored == _IGNORED
        query = "&".join(f"{name}=3" for name in sorted(ignored))
        broker = open_broker(f"redis://{HOST}:{server.port}?{query}&client_name=mine")
        follower = broker.follow(broker.head())
        publish(broker)
        assert len(next(follower).records) == 1
        with server.connect() as client:
            assert "mine" in [each["name"] for each in client.client_list()]
        assert caplog.text.count(", ".join(sorted(ignored))) == 1

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("redis://host?foo=1", "option 'foo'"),
            ("redis://host?retry=1", "option 'retry'"),
            ("redis://host?ssl_cert_reqs=none", "rediss://"),
            ("rediss://host?ssl_cert_reqs=maybe", "cannot be used"),
            ("rediss://host?ssl_ocsp_context=1", "option 'ssl_ocsp_context'"),
            ("unix:///run/redis.sock?path=/x", "option 'path'"),
            ("redis+sentinel://host/main?db=1", "takes no options"),
        ],
    )
    def test_an_option_that_cannot_be_honoured_is_refused_by_name(
        self, url: str, says: str
    ) -> None:
        """The error names the option, not the insides of redis-py."""
        with pytest.raises(ValueError, match=re.escape(says)) as caught:
            check_url(url)
        assert "__init__" not in str(caught.value)

    @pytest.mark.parametrize(
        ("place", "host", "port"),
        [
            ("[::1]:26380", "::1", 26380),
            ("[fe80::1]", "fe80::1", 26379),
            ("host:1", "host", 1),
            ("10.0.0.1", "10.0.0.1", 26379),
        ],
    )
    @pytest.mark.parametrize("more", ["", "host2,", "[::2]:7,"])
    def test_the_hosts_of_sentinels_may_be_ipv6_addresses(
        self, place: str, host: str, port: int, more: str
    ) -> None:
        """The brackets belong to the URL, and not to the address."""
        pool = connector(f"redis+sentinel://u:p@{more}{place}/main")(
            1.0
        ).connection_pool
        assert isinstance(pool, SentinelConnectionPool)
        settings = pool.sentinel_manager.sentinels[-1].connection_pool.connection_kwargs
        assert (settings["host"], settings["port"]) == (host, port)

    def test_a_node_of_a_cluster_says_that_it_is_not_supported(
        self, open_broker: Open
    ) -> None:
        """A node that does not have the log's slot answers with the name of another."""
        cluster = ["--cluster-enabled", "yes"]
        with RedisServer(*cluster) as one, RedisServer(*cluster) as other:
            error = "Cluster, which is not supported"
            with pytest.raises(BrokerUnavailable, match=error):
                open_broker(other.url).head()
            one.run("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            other.run("CLUSTER", "MEET", HOST, one.port)
            moved = "MOVED"
            wait_until(lambda: moved in _answer(other))
            for ask in (RedisBroker.head, publish):
                with pytest.raises(BrokerUnavailable, match=error):
                    ask(open_broker(other.url))

    @pytest.mark.parametrize(
        "url",
        [
            "redis://host:port",
            "redis://host/myapp",
            "redis://host/1/2",
            "redis://host/-1",
            "redis://host?db=-1",
            "redis://host?db=x",
            "redis://host/٣",
            "redis+sentinel://host/main/app",
            "redis+sentinel://host:99999/main",
            "redis+sentinel://::1/main",
            "redis+sentinel://host:1",
            "redis+sentinel:///main",
        ],
    )
    def test_a_url_that_names_no_server_is_refused(self, url: str) -> None:
        """The error is raised when the app is set up, not at the first event."""
        with pytest.raises(ValueError):
            check_url(url)


def _answer(server: RedisServer) -> str:
    """Return the raw answer of a cluster's node about a key."""
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(b"GET key\r\n")
        return connection.recv(4096).decode()


def test_a_disconnect_is_a_record_like_any_other(open_broker: Open) -> None:
    """A logout on one machine closes the user's streams on every machine."""
    one, two = HandHub(open_broker()), HandHub(open_broker())
    stream = two.stream(user="alice")
    one.broker.publish(Record(("u:alice",), Disconnect("disconnected")))  # type: ignore[arg-type]
    two.bring()
    assert stream.read() == []
    assert stream.ended
