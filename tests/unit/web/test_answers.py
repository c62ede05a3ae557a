"""Answers that outlive their readers, as views of an app use them."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, Response

from flask_sse_hub import (
    ConfigurationError,
    Event,
    InvalidName,
    InvalidOption,
    InvalidTarget,
    Progress,
    SSEHub,
    TooManyAnswers,
)
from flask_sse_hub.answers.departures import departures
from tests.conftest import Browser, MakeSite, Site
from tests.kit.reader import DEADLINE, EndOfStream, StreamReader, wait_until
from tests.kit.sse_parser import parse


class Chat:
    """A site that starts one given answer, and views around it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.hub = site.hub
        self.items: Iterable[Any] = ()
        self.options: dict[str, Any] = {}
        self.may_read: Any = None
        self.id = ""
        self.go_on = threading.Event()
        self._asked: list[Any] = []

        @site.app.route("/ask", methods=["GET", "POST"])
        def ask() -> Response:
            answer = self.hub.answers.start(self.items, **self.options)
            self.id = answer.id
            return answer.response()

        @site.app.get("/answer/<answer_id>")
        def read(answer_id: str) -> Response:
            return self.hub.answers.response(answer_id, may_read=self.may_read)

    def ask(self, browser: Browser, items: Iterable[Any], **options: Any) -> Any:
        self.items, self.options = items, options
        self._asked.append(browser.client.post("/ask"))
        return self._asked[-1]

    def close(self) -> None:
        """Let the answers end, and close the responses, as a server does."""
        self.go_on.set()
        for response in self._asked:
            response.close()

    def slowly(self, *items: Any) -> Iterator[Any]:
        """Yield some items, and the last one when the test says so."""
        *first, last = items
        yield from first
        self.go_on.wait(DEADLINE)
        yield last

    def read(self, browser: Browser, **options: Any) -> StreamReader:
        return browser.stream(f"/answer/{self.id}", **options)

    def status(self, browser: Browser, **options: Any) -> int:
        response = browser.get(f"/answer/{self.id}", **options)
        response.close()
        return int(response.status_code)

    def until(self, state: str) -> None:
        def is_so() -> bool:
            with self.site.app.app_context():
                found = self.hub.answers.get(self.id)
            return found is not None and found.state == state

        wait_until(is_so)


@pytest.fixture
def chat(make_site: MakeSite) -> Iterator[Chat]:
    chat = Chat(make_site(login_required=False, answers_per_user=2))
    yield chat
    chat.close()


def rest(reader: StreamReader) -> list[Any]:
    found = []
    try:
        while True:
            found.append(reader.next())
    except EndOfStream:
        return found


def text(events: Iterable[Any]) -> str:
    return "".join(event.data for event in events if event.type == "message")


def test_an_answer_goes_on_without_its_reader(chat: Chat) -> None:
    """A reload reads it again from the start, and a reconnect from its last id."""
    alice = chat.site.browser("alice")
    response = chat.ask(alice, chat.slowly("one ", "two ", "three"), merge="".join)
    assert response.headers["Answer-ID"] == chat.id
    reader = chat.site.read(response)
    assert json.loads(reader.next("answer").data) == {"id": chat.id}
    assert reader.data(1) == ["one two "]
    last_id = reader.last_event_id
    reader.close()
    again = chat.read(alice)
    resumed = chat.read(alice, headers={"Last-Event-ID": last_id})
    assert again.data(1) == ["one two "]
    chat.go_on.set()
    assert text(rest(again)) == text(rest(resumed)) == "three"
    late = rest(chat.read(alice))
    assert text(late) == "one two three"
    assert late[-1].type == "done"


def test_a_snapshot_is_marked_on_the_wire(chat: Chat) -> None:
    """A page that shows the text so far replaces what it shows."""
    alice = chat.site.browser("alice")
    reader = chat.site.read(chat.ask(alice, chat.slowly("a", "b"), merge="".join))
    assert reader.data(1) == ["a"]
    chat.go_on.set()
    chat.until("done")
    reader = chat.read(alice)
    rest(reader)
    block = next(each for each in reader.raw.split(b"\n\n") if b"data: ab" in each)
    assert b"state: true" in block


def test_the_end_is_answered_204(chat: Chat) -> None:
    """A native EventSource then reconnects no more."""
    alice = chat.site.browser("alice")
    reader = chat.site.read(chat.ask(alice, ["a"]))
    rest(reader)
    last_id = reader.last_event_id
    assert chat.status(alice, headers={"Last-Event-ID": last_id}) == 204


def test_others_cannot_tell_an_answer_from_none(chat: Chat) -> None:
    """Neither another user, nor a stranger, nor one that guesses."""
    alice, bob = chat.site.browser("alice"), chat.site.browser("bob")
    chat.ask(alice, ["a"]).close()
    found = []
    for browser in (bob, chat.site.browser()):
        response = browser.get(f"/answer/{chat.id}")
        found.append((response.status_code, response.text))
    unknown = alice.get("/answer/unknown")
    strange = alice.get("/answer/a%20b")
    found += [(each.status_code, each.text) for each in (unknown, strange)]
    assert [status for status, _ in found] == [404] * 4
    assert len({body for _, body in found}) == 1
    assert chat.status(chat.site.browser("alice")) == 200


def test_an_anonymous_visitor_is_known_by_its_session(chat: Chat) -> None:
    """The response that starts the answer sets the cookie. No other one does."""
    browser, other = chat.site.browser(), chat.site.browser()
    response = chat.ask(browser, ["a"])
    assert "Set-Cookie" in response.headers
    response.close()
    again = browser.get(f"/answer/{chat.id}")
    assert again.status_code == 200
    assert "Set-Cookie" not in again.headers
    again.close()
    assert chat.status(other) == 404


def test_may_read_opens_an_answer_to_others(chat: Chat) -> None:
    """It is asked with the visitor and the answer."""
    alice, bob = chat.site.browser("alice"), chat.site.browser("bob")
    chat.ask(alice, ["a"]).close()
    asked = []

    def team(user: Any, answer: Any) -> bool:
        asked.append((user.get_id(), answer.user))
        return bool(user.get_id() == "bob")

    chat.may_read = team
    assert chat.status(bob) == 200
    assert chat.status(chat.site.browser("carol")) == 404
    assert asked == [("bob", "alice"), ("carol", "alice")]


def test_a_logout_ends_the_reading(chat: Chat) -> None:
    """The answer goes on for the same user, who may come back."""
    alice = chat.site.browser("alice")
    reader = chat.site.read(chat.ask(alice, chat.slowly("a", "b"), merge="".join))
    assert reader.data(1) == ["a"]
    alice.logout()
    assert rest(reader) == []
    assert chat.status(alice) == 404
    chat.go_on.set()
    chat.until("done")
    assert text(rest(chat.read(chat.site.browser("alice")))) == "ab"


def test_a_stop_ends_all_readers(chat: Chat) -> None:
    """And get() and list() tell of it."""
    alice = chat.site.browser("alice")
    readers = [chat.site.read(chat.ask(alice, chat.slowly("a", "b"), merge="".join))]
    readers.append(chat.read(alice))
    for reader in readers:
        assert reader.data(1) == ["a"]
    answers = chat.hub.answers
    (running,) = answers.list(user="alice")
    assert (running.state, running.ended, running.size) == ("running", None, 1)
    assert answers.stop(chat.id)
    for reader in readers:
        (end,) = rest(reader)
        assert (end.type, json.loads(end.data)["reason"]) == ("done", "stopped")
    found = answers.get(chat.id)
    assert found is not None
    assert (found.state, found.reason, found.user) == ("stopped", "stopped", "alice")
    assert found.ended is not None
    assert found.ended >= found.begun
    assert not answers.stop(chat.id)
    assert not answers.stop("unknown")
    assert answers.get("unknown") is None
    assert answers.list(user="bob") == []


def test_items_progress_and_a_failure_reach_the_page(chat: Chat) -> None:
    """As with EventSourceResponse; the log has the rest of the error."""

    def job() -> Iterator[Any]:
        yield Progress(1, "rows", 2)
        yield {"row": 1}
        yield Event("two", type="row")
        raise ValueError("secret")

    events = rest(chat.site.read(chat.ask(chat.site.browser("alice"), job())))
    kinds = [each.type for each in events]
    assert sorted(kinds) == ["answer", "error", "message", "progress", "row"]
    by_kind = {each.type: each.data for each in events}
    assert json.loads(by_kind["progress"]) == {"done": 1, "total": 2, "text": "rows"}
    assert json.loads(by_kind["message"]) == {"row": 1}
    assert "secret" not in by_kind["error"]


@pytest.mark.parametrize("protocol", ["ai-sdk", "openai", None])
def test_each_protocol_can_be_read_again(chat: Chat, protocol: Any) -> None:
    """Its clients receive no ids and no events of ours; without one there are ids."""
    alice = chat.site.browser("alice")
    chunk = {"type": "data-a", "data": 1}
    response = chat.ask(
        alice, [chunk, "[DONE]"] if protocol else [chunk], protocol=protocol
    )
    response.close()
    chat.until("done")
    again = alice.get(f"/answer/{chat.id}")
    body = b"".join(again.response)
    events = parse(body)
    assert {each.type for each in events} == {"message"}
    assert json.loads(events[0].data) == chunk
    assert (b"id: " in body) is (protocol is None)
    if protocol is not None:
        assert [each.data for each in events].count("[DONE]") == 1


def test_text_of_the_ai_sdk_is_one_part_for_a_late_reader(chat: Chat) -> None:
    """The SDK resumes a chat by reading its whole message again."""
    alice = chat.site.browser("alice")
    chat.ask(alice, ["a", "b"], protocol="ai-sdk", merge="".join).close()
    chat.until("done")
    again = alice.get(f"/answer/{chat.id}")
    *parts, done = parse(b"".join(again.response))
    found = [json.loads(each.data) for each in parts]
    assert [each["type"] for each in found] == [
        *("start", "text-start", "text-delta", "text-end", "finish")
    ]
    assert found[2]["delta"] == "ab"
    assert done.data == "[DONE]"
    assert again.headers["x-vercel-ai-ui-message-stream"] == "v1"


def test_a_user_may_run_so_many_answers(chat: Chat) -> None:
    """The refusal closes the iterable, and says when to come back."""
    alice = chat.site.browser("alice")
    for _ in range(2):
        chat.ask(alice, chat.slowly("a", "b")).close()
    closed = threading.Event()

    class Items(list[str]):
        def close(self) -> None:
            closed.set()

    refused = chat.ask(alice, Items("ab"))
    assert refused.status_code == 429
    assert refused.headers["Retry-After"]
    assert "SSE_HUB_ANSWERS_PER_USER" in refused.text
    assert closed.is_set()
    assert chat.ask(chat.site.browser("bob"), ["a"]).status_code == 200


def test_a_worker_may_run_so_many_answers(make_site: MakeSite) -> None:
    """The error can be caught too."""
    chat = Chat(make_site(answers_per_worker=1))
    answers = chat.hub.answers
    answers.start(chat.slowly("a"), user=1, id="one")
    with pytest.raises(TooManyAnswers, match="SSE_HUB_ANSWERS_PER_WORKER"):
        answers.start(["a"], user=2)
    with pytest.raises(TooManyAnswers, match="'one' runs already"):
        answers.start(["a"], user=1, id="one")
    chat.go_on.set()


def test_an_answer_may_have_so_many_bytes(make_site: MakeSite) -> None:
    """More of them end it."""
    chat = Chat(make_site(answers_bytes=1024, login_required=False))
    reader = chat.site.read(chat.ask(chat.site.browser(), ["x" * 1000] * 2))
    *_, end = rest(reader)
    assert (end.type, json.loads(end.data)["reason"]) == ("error", "too_large")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda each: each.start("text", user=1), InvalidOption),
        (lambda each: each.start(None, user=1), InvalidOption),
        (lambda each: each.start([], user=1, batch=7), InvalidOption),
        (lambda each: each.start([], user=1, protocol="telnet"), InvalidOption),
        (lambda each: each.start([], user=1, linger=-1), InvalidOption),
        (lambda each: each.start([], user=1, timeout=0), InvalidOption),
        (lambda each: each.start([], user=1, keep="x"), InvalidOption),
        (lambda each: each.start([], user=1, merge=7), InvalidOption),
        (lambda each: each.start([], user=1, id="a b"), InvalidName),
        (lambda each: each.start([], user=1, id=""), InvalidName),
        (lambda each: each.start([], user=1.5), InvalidName),
        (lambda each: each.start([]), InvalidTarget),
        (lambda each: each.list(user=None), InvalidName),
        (lambda each: each.start([], users=1), TypeError),
    ],
)
def test_bad_arguments_are_refused(
    site: Site, call: Callable[[Any], object], error: type[Exception]
) -> None:
    """Before anything is started."""
    with pytest.raises(error):
        call(site.hub.answers)


def test_a_text_takes_only_text(chat: Chat) -> None:
    """Another item ends the answer, and the error is in the log."""
    reader = chat.site.read(chat.ask(chat.site.browser(), ["a", 7], merge="".join))
    assert rest(reader)[-1].type == "error"


def test_an_app_context_is_there_if_it_is_asked_for(chat: Chat) -> None:
    """For an iterable that uses the database."""

    def names() -> Iterator[str]:
        from flask import current_app

        yield current_app.name

    reader = chat.site.read(chat.ask(chat.site.browser(), names(), app_context=True))
    assert reader.data(1) == ["site"]


def test_memory_of_one_process_is_refused_where_there_are_several() -> None:
    """Other workers could not serve the answer."""
    app = Flask("site")
    app.config.update(SECRET_KEY="k", SSE_HUB_BROKER_URL="memory://")
    hub = SSEHub(app)
    several = {"wsgi.multiprocess": True}
    with (
        app.test_request_context("/", environ_overrides=several),
        pytest.raises(ConfigurationError, match="memory://"),
    ):
        hub.answers.start(["a"], user=1)


def test_a_closed_hub_leaves_no_answer_behind(chat: Chat) -> None:
    """Its iterable ends, and the watch for departures forgets it."""
    began, ended = threading.Event(), threading.Event()

    def endless() -> Iterator[str]:
        try:
            began.set()
            while True:
                yield "word "
        finally:
            ended.set()

    before = len(departures())
    chat.ask(chat.site.browser("alice"), endless()).close()
    assert len(departures()) > before
    assert began.wait(DEADLINE)
    chat.site.close()
    assert ended.wait(DEADLINE)
    assert len(departures()) == before
