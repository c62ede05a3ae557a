"""Presence on two workers, with each broker: deploys, kills, sleep, an outage."""

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest

from flask_sse_hub import Event, Publisher
from flask_sse_hub.brokers import create_broker
from flask_sse_hub.events.record import Cursor
from flask_sse_hub.webhooks import StandardWebhooks
from tests.kit.hand import KEEP_ALL, fields
from tests.kit.reader import EndOfStream, StreamReader, wait_until
from tests.kit.receiver import Receiver
from tests.kit.redis_server import RedisServer
from tests.live.server import Server, asleep

pytestmark = pytest.mark.live

# A killed worker is written off after a quarter of a minute. A leave waits longer.
WRITTEN_OFF = 60.0

SECRET = "whsec_" + base64.b64encode(b"a secret of the live tests").decode()
NAME = "live"


@dataclass(frozen=True)
class House:
    """Two workers with presence, their broker, and the receiver of their hooks."""

    server: Server
    url: str
    publisher: Publisher
    receiver: Receiver
    redis: RedisServer | None

    def workers(self) -> tuple[int, int]:
        one, two = self.server.workers()
        return one, two

    def open(self, worker: int, user: str, channel: str = "news") -> StreamReader:
        with self.server.only(worker):
            stream = self.server.stream(path_of(channel), user=user)
            stream.next("connected")
            return stream

    def reconnect(self, user: str) -> StreamReader:
        """Open a stream at once, and again when it was in a worker that ends."""
        for _ in range(100):
            stream = self.server.stream(path_of("news"), user=user)
            try:
                stream.next("connected")
            except EndOfStream:
                stream.close()
                time.sleep(0.1)
            else:
                return stream
        raise AssertionError("each stream of ten seconds has ended")

    def devices(self, channel: str = "news") -> dict[str, int]:
        """Return the people in the state of the log."""
        return {each.user: each.devices for each in self.publisher.present(channel)}

    def wait_for(self, channel: str = "news", **devices: int) -> None:
        wait_until(lambda: self.devices(channel) == devices, within=WRITTEN_OFF)

    def changes(self, channel: str = "news") -> list[str]:
        """Return the joins and leaves in the log."""
        folder = self.server.folder
        broker = create_broker(self.url, KEEP_ALL, folder=folder, name=NAME)
        with closing(broker):
            start = Cursor(broker.head().epoch, 0)
            found = [
                json.loads(record.content.data)
                for record in broker.replay(start, page=10_000).records
                if isinstance(record.content, Event)
                and record.content.type == "presence"
            ]
        return [
            f"{each['type']} {each['user']}"
            for each in found
            if each["type"] in ("join", "leave") and each["channel"] == channel
        ]

    def told(self) -> dict[str, str]:
        """Return the hooks that were received, by their ids. A hook may come twice."""
        found = {}
        for _, headers, body in list(self.receiver.received):
            time = float(headers["webhook-timestamp"])
            signed = StandardWebhooks(SECRET).verify(headers, body, now=time)
            hook = json.loads(body)
            (name,) = hook["data"].values()
            found[str(signed.id)] = f"{hook['type']} {name}"
        return found


def path_of(channel: str) -> str:
    return f"/events?channel={channel.replace('+', '%2B')}"


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with ExitStack() as stack:
        redis = None
        receiver = stack.enter_context(Receiver())
        settings: dict[str, Any] = {
            "presence": ["news", "alice+*"],
            "presence_grace": 8.0,
            "presence_hooks": [receiver.url],
            "presence_hook_secrets": [SECRET],
        }
        if request.param == "redis":
            redis = stack.enter_context(RedisServer())
            settings |= {"broker_url": redis.url, "name": NAME}
        args = "--workers 2 --graceful-timeout 3"
        server = stack.enter_context(Server(args=args, **settings))
        url = redis.url if redis else f"sqlite:///{server.folder}/hub.db"
        publisher = Publisher(url, name=NAME if redis else None)
        stack.enter_context(closing(publisher))
        yield House(server, url, publisher, receiver, redis)


only_sqlite = pytest.mark.parametrize("house", ["sqlite"], indirect=True)
only_redis = pytest.mark.parametrize("house", ["redis"], indirect=True)


@only_sqlite
def test_people_come_once_and_leave_once(house: House) -> None:
    """A reload, a deploy and a killed worker are no leave for people who come back.

    The app's own URL is told of each of them.
    """
    server = house.server
    one, two = house.workers()
    streams = [house.open(worker, "alice") for worker in (one, two)]
    house.wait_for(alice=2)
    bob = house.open(one, "bob")
    house.wait_for(alice=2, bob=1)

    # A reload that another worker serves.
    bob.close()
    bob = house.open(two, "bob")
    house.wait_for(alice=2, bob=1)

    # A deploy: all workers are replaced, and each client reconnects at once.
    server.signal(signal.SIGHUP)
    for stream in (*streams, bob):
        stream.wait_for_end()
        stream.close()
    between = [house.reconnect(user) for user in ("alice", "bob")]
    wait_until(lambda: not {one, two} & set(server.workers()))
    wait_until(lambda: len(server.workers()) == 2)
    one, two = house.workers()
    streams = [house.open(worker, "alice") for worker in (one, two)]
    bob = house.open(one, "bob")
    for stream in between:
        stream.close()
    house.wait_for(alice=2, bob=1)

    # A worker is killed. Its clients reconnect at once.
    os.kill(one, signal.SIGKILL)
    bob.close()
    between = [house.reconnect(user) for user in ("alice", "bob")]
    wait_until(lambda: one not in server.workers() and len(server.workers()) == 2)
    bob = house.open(two, "bob")
    for stream in (*streams, *between):
        stream.close()
    streams = [house.open(two, "alice") for _ in range(2)]
    house.wait_for(alice=2, bob=1)

    bob.close()
    house.wait_for(alice=2)
    for stream in streams:
        stream.close()
    house.wait_for()
    assert house.changes() == ["join alice", "join bob", "leave bob", "leave alice"]
    wait_until(lambda: len(house.told()) == 6)
    assert sorted(house.told().values()) == [
        *("channel_occupied news", "channel_vacated news"),
        *("user_came alice", "user_came bob", "user_left alice", "user_left bob"),
    ]


def test_a_worker_that_sleeps_is_taken_in_again(house: House) -> None:
    """It is written off meanwhile, and nobody sees its people leave or come again."""
    one, two = house.workers()
    room = "alice+bob+asleep"
    with house.open(one, "alice", room), house.open(two, "bob", room):
        house.wait_for(room, alice=1, bob=1)
        with asleep(two):
            house.wait_for(room, alice=1, bob=0)
        house.wait_for(room, alice=1, bob=1)
        assert sorted(house.changes(room)) == ["join alice", "join bob"]


def test_an_open_stream_enters_a_room_and_leaves_it(house: House) -> None:
    """Another worker than the stream's takes the request."""
    one, two = house.workers()
    room = "alice+bob+moves"
    with house.open(one, "alice", room), house.open(two, "bob", "bob") as bob:
        house.wait_for(room, alice=1)
        client_id = fields(bob.events[0])["client_id"]

        def change(**names: list[str]) -> list[str]:
            with house.server.only(one):
                status, _, _ = house.server.request(
                    "POST",
                    "/events/subscriptions",
                    body={"client_id": client_id, **names},
                    Authorization="Bearer bob",
                )
            assert status == 202
            found: list[str] = fields(bob.next("subscribed"))["channels"]
            return found

        assert change(subscribe=[room]) == ["bob", room]
        house.wait_for(room, alice=1, bob=1)
        assert fields(bob.next("presence"))["user"] == "bob"
        assert change(unsubscribe=[room]) == ["bob"]
        house.wait_for(room, alice=1)
    assert house.changes(room)[:3] == ["join alice", "join bob", "leave bob"]


@only_redis
def test_an_outage_makes_answers_stale_and_nobody_leaves(house: House) -> None:
    """The workers say so, answer from before, and heal when Redis is back."""
    assert house.redis is not None
    one, two = house.workers()
    room = "alice+bob+outage"
    with house.open(one, "alice", room), house.open(two, "bob", room):
        house.wait_for(room, alice=1, bob=1)
        before = ask(house, room)
        assert before == {"devices": {"alice": 1, "bob": 1}, "stale": False}
        house.redis.kill()
        wait_until(lambda: ask(house, room)["stale"], within=WRITTEN_OFF)
        assert ask(house, room)["devices"] == before["devices"]
        house.redis.start()
        wait_until(lambda: ask(house, room) == before, within=WRITTEN_OFF)
        house.wait_for(room, alice=1, bob=1)
        assert sorted(house.changes(room)) == ["join alice", "join bob"]


def ask(house: House, channel: str) -> dict[str, Any]:
    """Return what the worker that happens to answer knows of a channel."""
    return house.server.json(f"/present/{channel}")


def test_a_receipt_counts_the_streams_of_both_workers(house: House) -> None:
    """A person with streams on both is one person."""
    one, two = house.workers()
    room = "alice+bob+receipt"
    with (
        house.open(one, "alice", room) as stream,
        house.open(two, "alice", room),
        house.open(two, "bob", room),
    ):

        def counted() -> tuple[int, int, int]:
            """Publish, and return the streams and people of the complete receipt."""
            event_id = house.server.publish("hello", channel=room, receipt=True)
            assert stream.data(1) == ["hello"]

            def receipt() -> Any:
                return house.publisher.receipts(event_id)

            wait_until(lambda: (found := receipt()) is not None and found.complete)
            found = receipt()
            assert not found.unheard
            return found.streams, found.people, found.late

        # On a busy machine a worker may be late for the first one.
        wait_until(lambda: counted() == (3, 2, 0))
