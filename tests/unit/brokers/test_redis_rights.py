"""The Redis broker: the rights that it needs, and a Redis that evicts keys."""

import re
from contextlib import suppress
from dataclasses import replace

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers.redis.scripts import APPEND, JUDGE, TAIL
from flask_sse_hub.brokers.redis.trimming import BRIDGE
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import ChannelBounds, Record, Retention
from tests.documented.samples import sample
from tests.kit.hand import HandHub
from tests.kit.ports import HOST
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer
from tests.unit.brokers.redis_logs import EVENT, Open, publish, works

#: The command of the page that gives a user the rights it needs.
ACL = sample("docs/brokers.md", "text", with_="ACL SETUSER")


#: An event of a channel with bounds.
BOUNDED = Record((address.channel("a"),), Event(""), bounds=ChannelBounds(events=1))


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
        scripts = APPEND + BRIDGE + JUDGE + TAIL
        commands = set(re.findall(r"redis\.call\('(\w+)'", scripts))
        allowed = set(self.RULES.upper().replace("+", "").split())
        assert commands <= allowed
        broker = open_broker(url, Retention(3, 3600.0, 2 * EVENT.size))
        hub = HandHub(broker)
        for number in range(9):
            keyed = Record((), Event("x"), idempotency_key=str(number % 3))
            broker.publish(keyed)
            hub.publish("x", key="k", deletes=number == 5)
            hub.publish("y", key="l", ttl=0.001)
            broker.publish(replace(BOUNDED, content=Event(str(number))))
        hub.bring()
        follower = broker.follow(broker.head())
        publish(broker)
        assert len(next(follower).records) == 1
        assert "k" in {each.key for each in broker.state().records}

    @pytest.mark.parametrize(
        "command",
        sorted(set(re.findall(r"'(X\w+|H\w+|P\w+|UN\w+|REN\w+|Z\w+)'", APPEND))),
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
        broker.publish(Record((BROADCAST,), Event("typing"), ttl=0.001))
        broker.publish(Record((BROADCAST,), Event("away"), key="l", ttl=0.0))
        broker.publish(Record((BROADCAST,), Event("old"), key="k", ttl=60.0))
        broker.publish(Record((BROADCAST,), Event("before"), key="k"))
        head = broker.head()
        server.run("ACL", "SETUSER", "hub", f"-{command}")
        keyed = Record(
            (BROADCAST,), Event("once"), idempotency_key="once", key="k", ttl=60.0
        )
        for _ in range(2):
            with suppress(BrokerUnavailable):
                broker.publish(keyed)
        server.run("ACL", "SETUSER", "hub", f"+{command}")
        (value,) = broker.state().records
        assert value.content == Event("before" if broker.head() == head else "once")
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
        wait_until(lambda: works(other))
