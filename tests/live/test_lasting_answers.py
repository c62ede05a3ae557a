"""Answers on two workers: readers that drop, workers that die, stops and logouts."""

import json
import os
import secrets
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.reader import DEADLINE, EndOfStream, StreamReader, wait_until
from tests.kit.sse_parser import ParsedEvent
from tests.live.dropping_reader import ALICE, DroppingReader
from tests.live.server import Server

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(
        args="--workers 2 --graceful-timeout 3",
        answers_per_user=None,
        max_clients_per_user=None,
    ) as server:
        wait_until(lambda: len(server.workers()) == 2)
        yield server


def start(server: Server, **wanted: Any) -> dict[str, Any]:
    wanted = {"count": 10_000, "pace": 0.02, "mark": "w", "keep": 4.0} | wanted
    status, body, _ = server.request("POST", "/lasting/start", body=wanted, **ALICE)
    assert status == 200, body
    found: dict[str, Any] = json.loads(body)
    return found


def text(events: list[ParsedEvent]) -> str:
    return "".join(event.data for event in events if event.type == "message")


def read(server: Server, answer_id: str, **headers: str) -> StreamReader:
    return server.stream(f"/lasting/read/{answer_id}", **headers)


def read_to_the_end(reader: StreamReader) -> list[ParsedEvent]:
    found = []
    try:
        while True:
            found.append(reader.next())
    except EndOfStream:
        reader.close()
        return found


def restartable(server: Server, count: int, **other: Any) -> dict[str, Any]:
    """Start an answer with which another worker goes on."""
    answer_id = f"{count}-20-{secrets.token_hex(8)}"
    return start(server, count=count, id=answer_id, **other)


@pytest.mark.parametrize("way", ["killed", "reloaded"])
def test_another_worker_goes_on(server: Server, way: str) -> None:
    """Readers that drop anywhere receive each word once, and one end."""
    count = 150 if way == "killed" else 250
    answer = restartable(server, count)
    (other,) = set(server.workers()) - {answer["pid"]}
    with server.only(other):
        steady = read(server, answer["id"])
    readers = [DroppingReader(server, answer["id"], seed=seed) for seed in range(4)]
    for reader in readers:
        reader.start()
    wait_until(lambda: all(reader.drops for reader in readers))
    if way == "killed":
        os.kill(answer["pid"], signal.SIGKILL)
        assert text(read_to_the_end(steady)) == _words(count)
    else:
        server.signal(signal.SIGHUP)
    for reader in readers:
        reader.join(6 * DEADLINE)
        assert text(reader.events) == _words(count)
        ends = [each for each in reader.events if each.type in ("done", "error")]
        assert [end.type for end in ends] == ["done"]
    assert server.json(f"/lasting/status/{answer['id']}")["reason"] == "done"
    wait_until(lambda: len(server.workers()) == 2)


def _words(count: int) -> str:
    return "".join(f"w{number} " for number in range(count))


@pytest.mark.parametrize("restarts", [True, False])
def test_a_drain_that_nobody_reads_loses_no_word(
    server: Server, restarts: bool
) -> None:
    """Readers that come afterwards have everything so far, and one end."""
    begin = restartable if restarts else start
    answer = begin(server, count=200, keep=15.0)
    path = f"/lasting/status/{answer['id']}"
    wait_until(lambda: server.json(path)["size"] > 0)
    server.signal(signal.SIGHUP)
    wait_until(lambda: answer["pid"] not in server.workers())
    wait_until(lambda: len(server.workers()) == 2)
    told = set()
    for _ in range(2):
        *events, end = read_to_the_end(read(server, answer["id"]))
        assert not [each for each in events if each.type in ("done", "error")]
        told.add((text(events), end.type, json.loads(end.data).get("reason")))
    ((found, *how),) = told
    if restarts:
        assert (found, how) == (_words(200), ["done", None])
    else:
        assert _words(200).startswith(found)
        assert found
        assert how == ["error", "shutdown"]


def test_readers_that_drop_receive_each_word_once(server: Server) -> None:
    """Fifty answers, three readers each, on both workers. One end each."""
    begun = [start(server, count=40, mark=f"{n}.", keep=15.0) for n in range(50)]
    readers = [
        DroppingReader(server, answer["id"], seed=10 * number + each)
        for number, answer in enumerate(begun)
        for each in range(3)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(6 * DEADLINE)
    for index, reader in enumerate(readers):
        mark = f"{index // 3}."
        assert text(reader.events) == "".join(f"{mark}{n} " for n in range(40))
        ends = [each for each in reader.events if each.type in ("done", "error")]
        assert [end.type for end in ends] == ["done"]
    assert sum(reader.drops for reader in readers) > len(readers)


def test_a_stop_on_another_worker_ends_the_iterable(server: Server) -> None:
    """And all readers, at once."""
    answer = start(server)
    readers = [read(server, answer["id"]) for _ in range(4)]
    for reader in readers:
        reader.next("message")
    (other,) = set(server.workers()) - {answer["pid"]}
    with server.only(other):
        _, body, _ = server.request("POST", f"/lasting/stop/{answer['id']}")
    assert json.loads(body) == {"stopped": True, "pid": other}
    texts = set()
    for reader in readers:
        end = read_to_the_end(reader)[-1]
        assert (end.type, json.loads(end.data)["reason"]) == ("done", "stopped")
        texts.add(text(reader.events))
    assert len(texts) == 1


def test_a_logout_ends_the_reading_on_each_worker(server: Server) -> None:
    """The answer goes on."""
    answer = start(server)
    cookie = server.cookie("alice")
    readers = [
        server.stream(f"/lasting/read/{answer['id']}", user=None, Cookie=cookie)
        for _ in range(6)
    ]
    for reader in readers:
        reader.next("message")
    server.request("POST", "/logout", Cookie=cookie)
    for reader in readers:
        events = read_to_the_end(reader)
        assert {event.type for event in events} <= {"message"}
    status = server.json(f"/lasting/status/{answer['id']}")
    assert status["state"] == "running"
    server.request("POST", f"/lasting/stop/{answer['id']}")


def test_a_killed_worker_is_noticed_once(server: Server) -> None:
    """Readers on the other one keep what came before, and are told of the end."""
    answer = start(server)
    (other,) = set(server.workers()) - {answer["pid"]}
    with server.only(other):
        reader = read(server, answer["id"])
    assert reader.next("message")
    os.kill(answer["pid"], signal.SIGKILL)
    end = read_to_the_end(reader)[-1]
    assert (end.type, json.loads(end.data)["reason"]) == ("error", "lost")
    late = read_to_the_end(read(server, answer["id"]))
    assert text(late) == text(reader.events)
    assert [each.id for each in late if each.type == "error"] == [end.id]
    wait_until(lambda: len(server.workers()) == 2)


def test_a_worker_that_was_asleep_produces_no_more(server: Server) -> None:
    """The others took it for dead. Its readers are told of the same end."""
    answer = start(server)
    (other,) = set(server.workers()) - {answer["pid"]}
    with server.only(answer["pid"]):
        own = read(server, answer["id"])
    assert own.next("message")
    with server.only(other):
        end = read_to_the_end(read(server, answer["id"]))[-1]
    assert json.loads(end.data)["reason"] == "lost"
    assert read_to_the_end(own)[-1].id == end.id


def test_nothing_is_left_after_all_of_it(server: Server) -> None:
    """No thread, stream, answer or key, in any worker or in the log."""

    def is_clean() -> bool:
        left = server.json("/lasting/left")
        return not (left["keys"] or left["threads"] or left["answers"])

    for worker in server.workers():
        with server.only(worker):
            wait_until(is_clean, within=3 * DEADLINE)
    assert server.connections() == 0
