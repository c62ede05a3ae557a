"""The example app's own streams under gunicorn, as `make run` starts it."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub.testing import Stream
from tests.kit.demo import Demo
from tests.kit.ports import HOST
from tests.kit.reader import DEADLINE, StreamReader, wait_until
from tests.kit.sse_parser import ParsedEvent, Parser
from tests.live.proxies import PROXIES, Proxy
from tests.live.server import Connection

pytestmark = pytest.mark.live

CHAT = "/api/chat/stream"

WORKERS = 4


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Several workers that start together, on a database that does not exist yet."""
    folder = tmp_path_factory.mktemp("demo")
    started = Demo(folder, workers=WORKERS, chat_pace="0.03", import_pause="0.05")
    yield started
    started.close()


class Request:
    """A request of alice that streams its answer, and that she can leave."""

    def __init__(
        self, demo: Demo, path: str, body: str, *, type: str = "application/json"
    ) -> None:
        self._connection = http.client.HTTPConnection(HOST, demo.port, timeout=DEADLINE)
        headers = {"Content-Type": type, "Cookie": demo.cookie("alice")}
        self._connection.request("POST", path, body, headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._parser = Parser()

    def next(self) -> ParsedEvent:
        while True:
            chunk = self._response.read1(65536)
            assert chunk, "the stream ended"
            if seen := self._parser.feed(chunk):
                return seen[-1]

    def rest(self) -> list[ParsedEvent]:
        """Read until the stream ends, well or by an error."""
        seen: list[ParsedEvent] = []
        try:
            while chunk := self._response.read1(65536):
                seen += self._parser.feed(chunk)
        except (OSError, http.client.HTTPException):
            pass
        return seen

    def leave(self) -> None:
        self._response.close()
        self._connection.close()


def ask(demo: Demo, message: str) -> Request:
    return Request(demo, CHAT, json.dumps({"message": message}))


def kept(demo: Demo) -> list[dict[str, Any]]:
    cookie = demo.cookie("alice")
    _, body = demo.request("GET", "/api/chat/messages", Cookie=cookie)
    found: list[dict[str, Any]] = json.loads(body)["exchanges"]
    return found


@pytest.fixture
def cleared(demo: Demo) -> Demo:
    cookie = demo.cookie("alice")
    demo.request("DELETE", "/api/chat/messages", Cookie=cookie)
    assert kept(demo) == []
    return demo


def calls(demo: Demo) -> int:
    return demo.log_path.read_text().count("a call of the model ended")


def test_workers_can_begin_together(demo: Demo) -> None:
    """Each worker finds the tables, and one of them made them."""
    log = demo.log_path.read_text()
    assert log.count("Booting worker") == 4
    assert "Traceback" not in log


def test_who_stops_has_the_call_ended_and_what_came_kept(cleared: Demo) -> None:
    """The call ends at once, as its tokens cost money."""
    before = calls(cleared)
    request = ask(cleared, "What is a stream?")
    shown = json.loads(request.next().data)
    assert not shown["done"]
    request.leave()
    wait_until(lambda: calls(cleared) > before)
    wait_until(lambda: kept(cleared))
    (exchange,) = kept(cleared)
    assert exchange["stopped"]
    assert exchange["answer"].startswith(shown["content"])


def test_who_stops_before_the_first_word_leaves_nothing(cleared: Demo) -> None:
    """A question alone is not kept."""
    before = calls(cleared)
    ask(cleared, "What is an event?").leave()
    wait_until(lambda: calls(cleared) > before)
    assert "ended after 0 tokens" in cleared.log_path.read_text()
    assert kept(cleared) == []


def test_a_logout_does_not_end_an_answer(cleared: Demo) -> None:
    """The answer belongs to its request, and is kept for the user that asked."""
    cookie = cleared.cookie("alice")
    headers = {"Content-Type": "application/json", "Cookie": cookie}
    connection = http.client.HTTPConnection(HOST, cleared.port, timeout=DEADLINE)
    connection.request("POST", CHAT, json.dumps({"message": "hello"}), headers)
    response = connection.getresponse()
    cleared.request("POST", "/logout", Cookie=cookie)
    *_, answer, end = Parser().feed(response.read())
    connection.close()
    assert json.loads(answer.data)["done"]
    assert end.type == "done"
    assert len(kept(cleared)) == 1


def test_conversations_are_apart_on_every_worker(cleared: Demo) -> None:
    """A program of another convention names them by ``conversationId``."""
    cookie = cleared.cookie("alice")
    headers = {"Cookie": cookie, "Content-Type": "application/json"}
    for conversation in (1, "trip", 1):
        body = json.dumps({"message": "hello", "conversationId": conversation})
        status, answer = cleared.request("POST", CHAT, body, **headers)
        assert status == 200
        assert Parser().feed(answer)[-1].type == "done"
    counts = []
    for query in ("?conversationId=1", "?conversationId=trip", ""):
        path = f"/api/chat/messages{query}"
        found = json.loads(cleared.request("GET", path, Cookie=cookie)[1])
        counts.append(len(found["exchanges"]))
    assert counts == [2, 1, 0]


def test_a_trigger_publishes_what_it_was_given(demo: Demo) -> None:
    """The event reaches the user's streams on any worker."""
    cookie = demo.cookie("bob")
    body = json.dumps({"type": "update", "data": {"total": 7}})
    headers = {"Cookie": cookie, "Content-Type": "application/json"}
    connection = Connection(demo.port, "/api/sse", Cookie=cookie)
    with closing(StreamReader(connection)) as stream:
        stream.next("connected")
        assert demo.request("POST", "/trigger", body, **headers)[0] == 202
        assert json.loads(stream.next("update").data) == {"total": 7}


def test_who_cancels_an_import_keeps_its_batches(demo: Demo) -> None:
    """The import goes no further, and keeps the batches so far."""
    cookie = demo.cookie("alice")
    _, sample = demo.request("GET", "/api/import/sample.csv", Cookie=cookie)
    body = (
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        f"{sample.decode()}\r\n--x--\r\n"
    )
    request = Request(demo, "/api/import", body, type="multipart/form-data; boundary=x")
    request.next()
    request.leave()

    def count() -> int:
        found = demo.request("GET", "/api/contacts", Cookie=cookie)[1]
        return int(json.loads(found)["count"])

    wait_until(lambda: "an import ended after" in demo.log_path.read_text())
    added = count()
    # A batch is a hundred rows. Of the sample, each thousandth row is refused.
    assert 0 < added < 4000
    assert (added + added // 999) % 100 == 0


def test_a_worker_that_is_killed_keeps_nothing_of_an_answer(tmp_path: Path) -> None:
    """The answer ends without a last event, and the next worker answers."""
    # The whole answer takes longer than the test.
    with closing(Demo(tmp_path, chat_pace="0.3")) as demo:
        request = ask(demo, "What is a worker?")
        request.next()
        demo.kill_workers()
        assert not any(event.type in ("done", "error") for event in request.rest())
        request.leave()
        wait_until(demo.answers)
        assert kept(demo) == []
        again = ask(demo, "What is a worker?")
        assert json.loads(again.next().data)["content"]
        again.leave()


@pytest.mark.parametrize("kind", PROXIES)
def test_behind_a_proxy_the_pages_have_both_of_their_streams(
    demo: Demo, kind: str
) -> None:
    """An answer arrives as it grows, beside the stream that all pages share."""
    cookie = demo.cookie("alice")
    question = ["--data", json.dumps({"message": "What is a stream?"})]
    type = "application/json"
    with (
        Proxy(kind, demo.port, protocol="http2") as proxy,
        proxy.stream("/events", Cookie=cookie) as events,
        proxy.stream(CHAT, *question, Cookie=cookie, Content_Type=type) as answer,
    ):
        events.next("connected")
        texts = [answer.next("message").data]
        while not json.loads(texts[-1])["done"]:
            texts.append(answer.next("message").data)
        assert len(texts) > 3
        assert answer.next("done").id
        assert json.loads(events.next("chat").data)["question"] == "What is a stream?"


@pytest.mark.parametrize("last_event_id", ["", "no id"])
def test_a_dashboard_begins_with_the_figures_of_the_last_minutes(
    demo: Demo, last_event_id: str
) -> None:
    """Whichever worker published them. It does so after a reset too."""
    url = f"{demo.url}/api/dashboard/sse"
    headers = {"Cookie": demo.cookie("alice")}
    with Stream(url, headers=headers) as stream:
        stream.next("dashboardUpdate")
    for _ in range(2 * WORKERS):
        with Stream(url, headers=headers, last_event_id=last_event_id) as stream:
            if last_event_id:
                assert stream.next("reset").json()["state"]
            event = stream.next("dashboardUpdate")
        assert event.state
        assert event.key == str(event.json()["time"])
