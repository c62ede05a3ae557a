"""Faults of the log, and their effect on streams.

Each row of the fault table in docs/operations.md is tried here, or named there.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.hand import fields
from tests.kit.ports import free_port
from tests.kit.reader import StreamReader, wait_until
from tests.kit.redis_server import RedisServer
from tests.live.crowd import crowd
from tests.live.server import Server

pytestmark = pytest.mark.live

PATIENCE = "--graceful-timeout 3"

#: Publishing fails within two seconds; the rest is for a busy machine.
SOON = 4.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def servers_redis() -> Iterator[RedisServer]:
    """The Redis of ``server``, which each test leaves running and with memory."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def started(servers_redis: RedisServer) -> Iterator[Server]:
    with Server(**settings_for(servers_redis), heartbeat_interval=1) as server:
        yield server


@pytest.fixture
def server(started: Server) -> Server:
    """A server without streams that has recovered from the fault before."""
    wait_until(lambda: is_ready(started))
    wait_until(lambda: started.stats()["connections"] == 0)
    return started


def settings_for(redis: RedisServer) -> dict[str, Any]:
    return {"broker_url": redis.url, "name": "live", "max_clients_per_user": None}


def cannot_publish(server: Server) -> bool:
    """Tell whether publishing fails, and check that it fails soon."""
    started = time.monotonic()
    status, _, _ = server.request("POST", "/publish", body={"data": "lost"})
    assert time.monotonic() - started < SOON
    return status == 500


def can_publish(server: Server, data: str) -> bool:
    return server.request("POST", "/publish", body={"data": data})[0] == 200


def is_ready(server: Server) -> bool:
    return server.get("/events/health")[0] == 200


def connected(server: Server, **options: Any) -> StreamReader:
    stream = server.stream(**options)
    stream.next("connected")
    return stream


class TestRedis:
    def test_it_is_away_when_the_app_starts(self) -> None:
        """Streams are let in, and go on when it is back; until then health says so."""
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        with Server(broker_url=url, name="live") as server:
            stream = connected(server)
            assert server.get("/events/health")[0] == 503
            assert server.get("/events/health/live")[0] == 200
            assert cannot_publish(server)
            with RedisServer(port=port):
                wait_until(lambda: is_ready(server))
                # With this id, a client would miss nothing from here on.
                assert stream.next("ping").id
                server.publish("at last")
                assert stream.data(1) == ["at last"]
            stream.close()

    @pytest.mark.parametrize("outage", ["restart", "pause"])
    def test_it_goes_away_and_comes_back(
        self, servers_redis: RedisServer, server: Server, outage: str
    ) -> None:
        """No stream ends, nothing is lost, and no client is reset."""
        stream = connected(server)
        server.publish("before")
        assert stream.data(1) == ["before"]
        servers_redis.kill() if outage == "restart" else servers_redis.pause()
        assert cannot_publish(server)
        late = connected(server)
        stream.next("ping")
        assert server.get("/events/health")[0] == 503
        servers_redis.start() if outage == "restart" else servers_redis.resume()
        wait_until(lambda: is_ready(server))
        wait_until(lambda: can_publish(server, "after"))
        data = ["before"]
        while data[-1] != "after":
            data += stream.data(1)
        # The event of a call that failed may have been published, or not.
        assert [each for each in data if each != "lost"] == ["before", "after"]
        late.next("message")
        assert not [e for e in stream.events + late.events if e.type == "reset"]
        stream.close()
        late.close()

    def test_it_is_flushed(self, servers_redis: RedisServer, server: Server) -> None:
        """Clients that are logged in come back, and learn that history is lost."""
        stream = connected(server)
        last = server.publish("before")
        assert stream.data(1) == ["before"]
        servers_redis.run("FLUSHALL")
        stream.wait_for_end()
        stream.close()
        with server.stream(Last_Event_ID=last) as again:
            assert fields(again.next("reset")) == {"reason": "epoch"}
            server.publish("after")
            assert again.data(1) == ["after"]

    def test_its_memory_is_full(
        self, servers_redis: RedisServer, server: Server
    ) -> None:
        """Publishing says so, and streams go on; with memory, all works again."""
        with connected(server) as stream:
            servers_redis.run("CONFIG", "SET", "maxmemory", 1)
            assert cannot_publish(server)
            assert "maxmemory" in server.log
            servers_redis.run("CONFIG", "SET", "maxmemory", 0)
            server.publish("after")
            assert stream.data(1) == ["after"]

    def test_a_logout_while_it_is_away_ends_streams_everywhere(
        self, redis: RedisServer
    ) -> None:
        """The worker that answers ends them at once, the others when Redis is back."""
        args = f"--workers 3 {PATIENCE}"
        with Server(args=args, **settings_for(redis)) as server:
            cookie = server.cookie("alice")
            streams = [connected(server, user=None, Cookie=cookie) for _ in range(12)]
            redis.kill()
            status, _, _ = server.request("POST", "/logout", Cookie=cookie)
            assert status == 200
            redis.start()
            for stream in streams:
                stream.wait_for_end()
                stream.close()

    def test_a_worker_has_three_connections(self, redis: RedisServer) -> None:
        """The number of clients adds none."""
        args = f"--workers 4 {PATIENCE} --worker-connections 1000"
        with (
            Server(args=args, **settings_for(redis)) as server,
            crowd(server.port, 400) as them,
        ):
            for number in range(40):
                server.publish(str(number))
            them.read_until(lambda member: len(member.data) >= 40)
            names = [each["name"] for each in redis.connect().client_list()]
            assert 4 < names.count("sse-hub") <= 12


class TestSQLite:
    def test_the_file_is_deleted(self) -> None:
        """Clients that are logged in come back, and learn that history is lost."""
        with Server() as server:
            stream = connected(server)
            last = server.publish("before")
            assert stream.data(1) == ["before"]
            for each in server.folder.glob("hub.db*"):
                if each.is_file():
                    each.unlink()
            stream.wait_for_end()
            stream.close()
            with server.stream(Last_Event_ID=last) as again:
                assert fields(again.next("reset")) == {"reason": "epoch"}
                server.publish("after")
                assert again.data(1) == ["after"]

    def test_the_folder_cannot_be_used(self) -> None:
        """Streams are let in and wait; publishing and health name the fault."""
        with Server(broker_url="sqlite:////dev/null/hub.db") as server:
            stream = connected(server)
            assert server.get("/events/health")[0] == 503
            assert cannot_publish(server)
            assert "must be able to write here" in server.log
            stream.close()

    def test_it_is_damaged_while_it_is_used(self) -> None:
        """Publishing says what helps; once the file is moved away, all works again."""
        with Server() as server:
            stream = connected(server)
            server.publish("before")
            assert stream.data(1) == ["before"]
            path = server.folder / "hub.db"
            path.unlink()
            path.write_bytes(b"no database, but long enough to look at it " * 200)
            wait_until(lambda: not can_publish(server, "lost"))
            assert "move it away" in server.log
            path.rename(path.with_name("damaged"))
            wait_until(lambda: can_publish(server, "after"))
            stream.wait_for_end()
            stream.close()
