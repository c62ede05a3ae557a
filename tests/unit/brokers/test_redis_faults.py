"""The Redis broker: a Redis that is away, restarts, or forgets connections."""

import socket
import threading
import time
from collections.abc import Callable
from typing import Literal

import pytest

from flask_sse_hub import BrokerUnavailable, Event
from flask_sse_hub.brokers.redis.stream import StreamLog
from flask_sse_hub.brokers.redis.url import connector
from flask_sse_hub.events.record import Cursor, Record
from flask_sse_hub.runtime import native
from flask_sse_hub.testing import Clock
from tests.kit.forgetful_proxy import ForgetfulProxy
from tests.kit.hand import KEEP_ALL
from tests.kit.ports import HOST, free_port
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer
from tests.unit.brokers.redis_logs import EVENT, Open, publish, works

#: The promise is two seconds; the rest is for a busy machine.
SOON = 3.0


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
        wait_until(lambda: works(broker))
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
