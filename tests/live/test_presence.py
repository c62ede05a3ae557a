"""Presence on two workers: tabs, reloads, a reload of the server, a killed worker."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from flask_sse_hub import Event, Publisher
from flask_sse_hub.brokers import create_broker
from flask_sse_hub.events.record import Cursor
from tests.kit.hand import KEEP_ALL
from tests.kit.reader import StreamReader, wait_until
from tests.live.server import Server

pytestmark = pytest.mark.live

NEWS = "/events?channel=news"

# A killed worker is written off after a quarter of a minute. A leave waits longer.
WRITTEN_OFF = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    settings: dict[str, Any] = {"presence": ["news"], "presence_grace": 8.0}
    with Server(args="--workers 2 --graceful-timeout 3", **settings) as server:
        yield server


def devices(publisher: Publisher) -> dict[str, int]:
    return {each.user: each.devices for each in publisher.present("news")}


def changes(server: Server) -> list[str]:
    """Return the joins and leaves in the server's log."""
    path = server.folder / "hub.db"
    broker = create_broker(f"sqlite:///{path}", KEEP_ALL, folder=path.parent, name="x")
    start = Cursor(broker.head().epoch, 0)
    found = [
        json.loads(record.content.data)
        for record in broker.replay(start, page=10_000).records
        if isinstance(record.content, Event) and record.content.type == "presence"
    ]
    broker.close()
    return [
        f"{each['type']} {each['user']}"
        for each in found
        if each["type"] in ("join", "leave")
    ]


def open_on(server: Server, worker: int, user: str) -> StreamReader:
    with server.only(worker):
        stream = server.stream(NEWS, user=user)
        stream.next("connected")
        return stream


def test_people_come_once_and_leave_once(server: Server) -> None:
    """A reload, a deploy and a killed worker are no leave for people who come back."""
    publisher = Publisher(f"sqlite:///{server.folder}/hub.db")
    one, two = server.workers()
    streams = [open_on(server, worker, "alice") for worker in (one, two)]
    bob = open_on(server, one, "bob")
    wait_until(lambda: devices(publisher) == {"alice": 2, "bob": 1})

    # A reload that another worker serves.
    bob.close()
    bob = open_on(server, two, "bob")
    wait_until(lambda: devices(publisher) == {"alice": 2, "bob": 1})

    # A deploy: all workers are replaced, and the clients reconnect.
    server.signal(signal.SIGHUP)
    for stream in (*streams, bob):
        stream.wait_for_end()
        stream.close()
    wait_until(lambda: not {one, two} & set(server.workers()))
    wait_until(lambda: len(server.workers()) == 2)
    one, two = server.workers()
    streams = [open_on(server, worker, "alice") for worker in (one, two)]
    bob = open_on(server, one, "bob")
    wait_until(lambda: devices(publisher) == {"alice": 2, "bob": 1})

    # A worker is killed. Its clients reconnect.
    os.kill(one, signal.SIGKILL)
    bob.close()
    wait_until(lambda: one not in server.workers() and len(server.workers()) == 2)
    bob = open_on(server, two, "bob")
    for stream in streams:
        stream.close()
    streams = [open_on(server, two, "alice") for _ in range(2)]
    expected = {"alice": 2, "bob": 1}
    wait_until(lambda: devices(publisher) == expected, within=WRITTEN_OFF)

    bob.close()
    wait_until(lambda: devices(publisher) == {"alice": 2}, within=WRITTEN_OFF)
    for stream in streams:
        stream.close()
    wait_until(lambda: devices(publisher) == {}, within=WRITTEN_OFF)
    assert changes(server) == ["join alice", "join bob", "leave bob", "leave alice"]
    publisher.close()
