"""The stream of one request: what a view yields, as its client gets it."""

import gc
import json
import logging
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, current_app, has_app_context, has_request_context
from flask import g as app_globals
from flask import request as flask_request
from werkzeug.test import EnvironBuilder

from flask_sse_hub import (
    Batch,
    ConfigurationError,
    Event,
    EventSourceResponse,
    SSEHub,
    UnsupportedServer,
)
from flask_sse_hub.answers import response as answer_response
from flask_sse_hub.answers.response import AnswerStream
from flask_sse_hub.hub.clients.admission import Places
from flask_sse_hub.testing import Stream
from flask_sse_hub.web import app_state as app_hub_module
from tests.reader import DEADLINE, EndOfStream, StreamReader, wait_until
from tests.test_producer import Upstream


class Site:
    """An app whose one view streams what it is given."""

    def __init__(self) -> None:
        self.app = Flask("site")
        self.app.config.update(SECRET_KEY="a key for tests", TESTING=True)
        self.iterable: Iterable[Any] = ()
        self.options: dict[str, Any] = {}
        self.client = self.app.test_client()
        self._responses: list[Any] = []

        @self.app.route("/answer", methods=["GET", "POST"])
        def answer() -> Response:
            response = EventSourceResponse(self.iterable, **self.options)
            response.set_cookie("never", "sent")
            return response

    def respond(
        self,
        iterable: Iterable[Any],
        *,
        method: str = "GET",
        query: str = "",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Any:
        self.iterable, self.options = iterable, options
        response = self.client.open(f"/answer?{query}", method=method, headers=headers)
        self._responses.append(response)
        return response

    def read(self, iterable: Iterable[Any], **options: Any) -> StreamReader:
        return StreamReader(self.respond(iterable, **options).response)

    def close(self) -> None:
        for response in self._responses:
            response.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def producers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "sse-producer"]


def rest_of(reader: StreamReader) -> list[tuple[str, str]]:
    """Read to the end; return the type and data of each event."""
    seen = []
    try:
        while True:
            event = reader.next()
            seen.append((event.type, event.data))
    except EndOfStream:
        return seen


def until_done(reader: StreamReader) -> list[str]:
    """Return the data of all events before a clean end."""
    *events, (last, _) = rest_of(reader)
    assert last == "done"
    return [data for _, data in events]


# What is sent


def test_each_value_is_an_event(site: Site) -> None:
    """Text as it is, anything else as the app writes JSON."""
    values = ["a\nb", {"n": 1}, [1, 2], None, b"bytes", Event("x", type="token")]
    seen = rest_of(site.read(values))
    assert seen[:-1] == [
        ("message", "a\nb"),
        ("message", '{"n": 1}'),
        ("message", "[1, 2]"),
        ("message", "null"),
        ("message", "bytes"),
        ("token", "x"),
    ]
    assert seen[-1][0] == "done"


def test_the_apps_own_json_is_used(site: Site) -> None:
    """It may know more than the standard library."""
    site.app.json.default = lambda value: "as the app has it"  # type: ignore[attr-defined]
    assert until_done(site.read([{"n": object()}])) == ['{"n": "as the app has it"}']


def test_an_event_may_tell_a_delay(site: Site) -> None:
    """It is for a client that reconnects by itself."""
    reader = site.read([Event("x", retry=2.5)])
    assert until_done(reader) == ["x"]
    assert reader.parser.retry_ms == 2500


def test_the_first_bytes_leave_at_once(site: Site) -> None:
    """Or onopen would wait for the first token, and a proxy give up."""
    going_on = threading.Event()
    reader = site.read(going_on.wait() and "a" for _ in range(1))
    wait_until(lambda: not reader._arrived.empty())
    assert reader._arrived.queue[0] == b":\n\n"
    going_on.set()
    assert until_done(reader) == ["a"]


def test_the_headers_are_those_of_every_stream(site: Site) -> None:
    """No proxy holds it back, and it sets no cookie."""
    headers = site.respond(["a"]).headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Set-Cookie" not in headers


def test_it_answers_a_post(site: Site) -> None:
    """A prompt is longer than a URL."""
    assert until_done(site.read(["a"], method="POST")) == ["a"]


def test_what_is_silent_gets_comments(site: Site) -> None:
    """No script sees them, and no proxy closes the connection."""
    going_on = threading.Event()
    reader = site.read((going_on.wait() and "a" for _ in range(1)), heartbeat=0.01)
    wait_until(lambda: reader._arrived.qsize() > 3)
    going_on.set()
    assert until_done(reader) == ["a"]
    assert len(reader.parser.comments) > 3


def test_an_item_may_change_after_it_was_yielded(site: Site) -> None:
    """The iterable runs ahead of what is written."""

    def accumulating() -> Iterator[dict[str, str]]:
        answer = {"content": ""}
        for word in ("once", " upon", " a time"):
            answer["content"] += word
            yield answer

    contents = [json.loads(data) for data in until_done(site.read(accumulating()))]
    assert [it["content"] for it in contents] == [
        "once",
        "once upon",
        "once upon a time",
    ]


# How it ends


@pytest.mark.parametrize("how", ["header", "query"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_comes_back_after_the_end_is_sent_away(
    site: Site, how: str, method: str
) -> None:
    """A native EventSource would have the model run again, for ever."""
    reader = site.read(["a"])
    done = reader.next("done")
    assert json.loads(done.data) == {"id": done.id}
    upstream = Upstream(lambda: pytest.fail("it ran again"))
    again: dict[str, Any] = (
        {"headers": {"Last-Event-ID": done.id}}
        if how == "header"
        else {"query": f"last_event_id={done.id}"}
    )
    response = site.respond(upstream, method=method, **again)
    assert (response.status_code, response.data) == (204, b"")
    response.close()
    assert upstream.closed == 1


def test_a_view_that_says_200_sends_away_too(site: Site) -> None:
    """A native EventSource would come back every few seconds to an empty stream."""

    @site.app.get("/explicit")
    def explicit() -> tuple[Response, int]:
        return EventSourceResponse(["a"]), 200

    again = f"/explicit?last_event_id={site.read([]).next('done').id}"
    assert site.client.get(again).status_code == 204


def test_a_304_has_no_body(site: Site) -> None:
    """A hook may make each response conditional; a body would be the next response."""

    @site.app.get("/conditional")
    def conditional() -> Response:
        response = EventSourceResponse(upstream)
        response.set_etag("version")
        return response

    @site.app.after_request
    def make_conditional(response: Response) -> Response:
        response.make_conditional(flask_request)
        return response

    upstream = Upstream(lambda: pytest.fail("it was iterated"))
    response = site.client.get("/conditional", headers={"If-None-Match": '"version"'})
    assert (response.status_code, response.data) == (304, b"")
    response.close()
    assert upstream.closed == 1


@pytest.mark.parametrize("last", ["", "0123456789ab-7", "end-", "end-0123 or so"])
def test_other_ids_are_none_of_its_own(site: Site, last: str) -> None:
    """A hub's, for example, from before the app used this."""
    assert until_done(site.read(["a"], headers={"Last-Event-ID": last})) == ["a"]


def test_a_post_is_never_sent_away(site: Site) -> None:
    """No browser repeats one by itself."""
    done = site.read(["a"]).next("done")
    again = site.read(["b"], method="POST", headers={"Last-Event-ID": done.id})
    assert until_done(again) == ["b"]


def at_once() -> Iterator[str]:
    raise LookupError("a secret")
    yield "never"


def in_the_middle() -> Iterator[str]:
    yield "a"
    raise LookupError("a secret")


def in_its_finally() -> Iterator[str]:
    try:
        yield "a"
    finally:
        raise LookupError("a secret")


def without_a_form() -> Iterator[Any]:
    yield "a"
    yield {"a secret": object()}


def without_utf8() -> Iterator[str]:
    yield "\ud800"


def by_exit() -> Iterator[str]:
    yield "a"
    raise SystemExit("a secret")


@pytest.mark.parametrize(
    "failing",
    [at_once, in_the_middle, in_its_finally, without_a_form, without_utf8, by_exit],
)
def test_an_error_is_told_safely_and_logged(
    site: Site,
    failing: Callable[[], Iterator[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One event, whose id leads to the traceback; what came before is sent."""
    reader = site.read(failing())
    seen = rest_of(reader)
    assert [data for type, data in seen if type == "message"] in (["a"], [])
    type, data = seen[-1]
    assert type == "error"
    assert [each for each, _ in seen].count("error") == 1
    told = json.loads(data)
    assert told == {"message": "the stream ended by an error", "id": told["id"]}
    assert reader.last_event_id == told["id"]
    (record,) = caplog.records
    assert told["id"] in record.message
    assert record.exc_info
    assert site.respond([], query=f"last_event_id={told['id']}").status_code == 204
    wait_until(lambda: not producers())


def test_an_error_keeps_nothing_of_the_iterable(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it held is let go of by then, and not when garbage is collected."""
    # pytest keeps what is logged.
    monkeypatch.setattr(logging.getLogger(AnswerStream.__module__), "disabled", True)
    held: list[weakref.ref[Any]] = []

    class Connection:
        """One that nobody closes."""

    def failing() -> Iterator[str]:
        connection = Connection()
        held.append(weakref.ref(connection))
        yield "a"
        raise LookupError

    gc.disable()
    try:
        rest_of(site.read(failing()))
        wait_until(lambda: not producers())
        wait_until(lambda: held[0]() is None)
    finally:
        gc.enable()


def test_an_error_is_logged_also_where_nobody_is_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The iterable is ahead of its client, who left before it came to that."""
    body = a_body(site, in_the_middle())
    wait_until(lambda: body._producer._ended)
    body.close()
    body.close()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


# Batches


def test_a_batch_is_one_write_of_several_events(site: Site) -> None:
    """In their order, and the rest at the end."""
    chunks = list(
        site.respond(map(str, range(25)), batch=Batch(size=10, interval=60)).response
    )
    assert [chunk.count(b"data: ") for chunk in chunks] == [0, 10, 10, 6]
    assert b"event: done" in chunks[-1]


def test_a_batch_leaves_after_its_interval(site: Site) -> None:
    """Also where the next item does not come."""
    going_on = threading.Event()

    def pausing() -> Iterator[str]:
        yield from "ab"
        going_on.wait()
        yield "c"

    reader = site.read(pausing(), batch=Batch(size=10, interval=0.01))
    assert reader.data(2) == ["a", "b"]
    going_on.set()
    assert until_done(reader) == ["c"]


def test_text_can_be_merged(site: Site) -> None:
    """Ten tokens are one event of their text."""
    batch = Batch(size=10, interval=60, merge="".join)
    assert until_done(site.read("abcdefghijkl".__iter__(), batch=batch)) == [
        "abcdefghij",
        "kl",
    ]


@pytest.mark.parametrize("count", [2, 3], ids=["when full", "at the end"])
def test_what_cannot_be_merged_is_an_error(
    site: Site, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the stream, as if the iterable had failed."""
    upstream = Upstream(lambda: iter([1] * count))
    batch = Batch(size=2 if count == 2 else 10, merge="".join)
    ((type, data),) = rest_of(site.read(upstream, batch=batch))
    assert type == "error"
    assert json.loads(data)["id"] in caplog.text
    wait_until(lambda: upstream.closed == 1)


def test_each_of_two_errors_is_logged_and_one_is_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """No id is in the log that no client has."""

    def failing() -> Iterator[int]:
        yield 1
        raise LookupError

    ((type, data),) = rest_of(site.read(failing(), batch=Batch(merge="".join)))
    assert type == "error"
    wait_until(lambda: len(caplog.records) == 2)
    assert caplog.text.count("was told with the id") == 1
    assert json.loads(data)["id"] in caplog.text


# Contexts


def test_there_is_no_context_without_asking_for_one(site: Site) -> None:
    """The request is over, and its database session with it."""

    def looking() -> Iterator[bool]:
        yield has_app_context() or has_request_context()

    assert until_done(site.read(looking())) == ["false"]


def test_an_app_context_is_around_all_of_it_and_left_at_the_end(site: Site) -> None:
    """Closing too; what the app tears down is torn down before the end is told."""
    torn_down: list[Any] = []

    def working() -> Iterator[str]:
        try:
            app_globals.found = current_app.name
            yield app_globals.found
        finally:
            app_globals.closed = has_app_context()

    # The request's own is torn down too.
    site.app.teardown_appcontext(
        lambda error: torn_down.append(app_globals.get("closed"))
    )
    assert until_done(site.read(working(), app_context=True)) == ["site"]
    assert sorted(torn_down, key=str) == [None, True]


def test_no_app_context_is_left_within_the_view(site: Site) -> None:
    """Tearing one down may end the view's own database session, if it is a thread's."""
    order: list[str] = []

    @site.app.get("/working")
    def working() -> Response:
        response = EventSourceResponse(["a"], app_context=True)
        order.append("view")
        return response

    site.app.teardown_appcontext(lambda error: order.append("teardown"))
    again = f"last_event_id={site.read([]).next('done').id}"
    order.clear()
    response = site.client.get(f"/working?{again}")
    assert response.status_code == 204
    response.close()
    assert order[0] == "view"


def test_an_app_context_is_left_where_the_client_leaves(site: Site) -> None:
    """Its connection goes back to the pool."""
    torn_down: list[Any] = []
    site.app.teardown_appcontext(
        lambda error: torn_down.append(app_globals.get("mine"))
    )

    def working() -> Iterator[str]:
        app_globals.mine = True
        while True:
            yield "a"

    reader = site.read(working(), app_context=True)
    assert reader.data(1) == ["a"]
    reader.close()
    wait_until(lambda: True in torn_down)
    wait_until(lambda: not producers())


def test_nothing_of_the_request_is_kept(site: Site) -> None:
    """A stream may be open for long."""
    requests: list[weakref.ref[Any]] = []
    going_on = threading.Event()
    environs: list[weakref.ref[Any]] = []

    class Environ(dict[str, Any]):
        """One that can be weakly referred to."""

    @site.app.get("/kept")
    def kept() -> Response:
        requests.append(weakref.ref(flask_request._get_current_object()))  # type: ignore[attr-defined]
        return EventSourceResponse(going_on.wait() and "a" for _ in range(1))

    environ = Environ(EnvironBuilder("/kept").get_environ())
    environs.append(weakref.ref(environ))
    body = site.app(environ, lambda *_: lambda _: None)
    del environ
    chunks = iter(body)
    assert next(chunks) == b":\n\n"
    gc.collect()
    assert requests[0]() is None
    assert environs[0]() is None
    going_on.set()
    body.close()  # type: ignore[attr-defined]


# Beginnings and ends that are not the usual ones


def test_a_head_request_iterates_nothing(site: Site) -> None:
    """It is closed and answered."""
    upstream = Upstream(lambda: pytest.fail("it was iterated"))
    response = site.respond(upstream, method="HEAD")
    assert response.status_code == 200
    response.close()
    assert upstream.closed == 1


def test_closing_stops_the_iterable_and_runs_what_hangs_on_it(site: Site) -> None:
    """Once, however often it is closed."""
    closed: list[str] = []
    upstream = Upstream(lambda: iter(range(1000)))

    @site.app.get("/hooked")
    def hooked() -> Response:
        response = EventSourceResponse(upstream)
        response.call_on_close(lambda: closed.append("hook"))
        return response

    body = site.app(EnvironBuilder("/hooked").get_environ(), lambda *_: lambda _: None)
    next(iter(body))
    body.close()  # type: ignore[attr-defined]
    body.close()  # type: ignore[attr-defined]
    wait_until(lambda: upstream.closed == 1)
    assert closed == ["hook"]
    assert next(iter(body), None) is None


def test_a_server_that_interrupts_the_response_stops_the_iterable(site: Site) -> None:
    """A worker at the end of its patience does, and calls nothing any more."""
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream)

    def interrupt(timeout: float) -> None:
        raise SystemExit

    body._producer.take = interrupt  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        next(body)
    wait_until(lambda: upstream.closed == 1)


def test_a_sync_server_is_refused(site: Site) -> None:
    """It would serve nothing else, and the error says what to do."""
    with site.app.test_request_context("/answer", multithread=False):
        flask_request.environ["werkzeug.socket"] = None
        with pytest.raises(UnsupportedServer, match="--without-threads"):
            EventSourceResponse([])


@pytest.mark.parametrize(
    ("iterable", "options"),
    [
        ("text", {}),
        (b"bytes", {}),
        (bytearray(b"bytes"), {}),
        (memoryview(b"bytes"), {}),
        ({"a": 1}, {}),
        (1, {}),
        (None, {}),
        ([], {"heartbeat": 0}),
        ([], {"heartbeat": None}),
        ([], {"batch": 10}),
    ],
    ids=str,
)
def test_what_cannot_be_streamed_is_refused(
    site: Site, iterable: Any, options: dict[str, Any]
) -> None:
    """In the view, where its author sees it."""
    with (
        site.app.test_request_context("/answer"),
        pytest.raises(ConfigurationError),
    ):
        EventSourceResponse(iterable, **options)


# Departures


def a_body(
    site: Site, iterable: Iterable[Any], connection: socket.socket | None = None
) -> AnswerStream:
    shown = {"werkzeug.socket": connection} if connection else {}
    with site.app.test_request_context(
        "/answer", environ_overrides={"wsgi.multithread": True, **shown}
    ):
        body = EventSourceResponse(iterable).response
    assert isinstance(body, AnswerStream)
    assert next(body) == b":\n\n"
    return body


def test_a_peer_that_may_have_left_is_probed(site: Site) -> None:
    """By a comment that ends no block."""
    going_on = threading.Event()
    body = a_body(site, (going_on.wait() for _ in range(1)))
    body.probe()
    assert next(body) == b":\n"
    body.close()
    going_on.set()


def test_a_peer_that_left_ends_the_stream_and_the_iterable(site: Site) -> None:
    """Without a word, and with nothing left to wait for."""
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream)
    body.peer_left()
    assert next(body, None) is None
    wait_until(lambda: upstream.closed == 1)


def test_a_worker_that_leaves_is_told_after_what_was_yielded(site: Site) -> None:
    """With the reason, and an id by which nothing runs again."""
    more = threading.Event()

    def waiting() -> Iterator[str]:
        yield "a"
        more.wait(DEADLINE)
        yield "never sent"

    upstream = Upstream(waiting)
    body = a_body(site, upstream)
    wait_until(lambda: bool(body._producer._items))
    body.worker_leaves()
    reader = StreamReader(body)
    assert reader.next().data == "a"
    error = reader.next()
    told = json.loads(error.data)
    assert (error.type, told["reason"], told["id"]) == ("error", "shutdown", error.id)
    assert "message" in told
    reader.wait_for_end()
    more.set()
    wait_until(lambda: upstream.closed == 1)
    assert site.respond([], query=f"last_event_id={error.id}").status_code == 204


def test_a_worker_that_leaves_is_not_told_of_an_iterable_at_its_end(
    site: Site,
) -> None:
    """All of the answer is there: it is done."""
    body = a_body(site, ["a"])
    wait_until(lambda: body._producer._ended)
    body.worker_leaves()
    assert until_done(StreamReader(body)) == ["a"]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: ours, and the peer's."""
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_write_that_blocks_is_cut_off(
    site: Site, pair: tuple[socket.socket, socket.socket]
) -> None:
    """By its connection; once the server has closed it, nothing is."""
    ours, theirs = pair
    body = a_body(site, [], ours)
    body.cut()
    assert theirs.recv(1) == b""
    body.close()
    body.cut()


def test_a_worker_that_leaves_waits_for_no_other_request(
    site: Site, pair: tuple[socket.socket, socket.socket], monkeypatch: Any
) -> None:
    """On the connection of a stream that has ended; what was written still leaves."""
    ours, theirs = pair
    body = a_body(site, [], ours)
    monkeypatch.setattr(body._watch, "_leave_at", 0.0)
    ours.sendall(b"".join(body))
    assert ours.recv(1) == b""
    assert b"event: done" in theirs.recv(1000)


def test_a_client_that_leaves_is_noticed_between_two_heartbeats(
    site: Site, pair: tuple[socket.socket, socket.socket]
) -> None:
    """With nothing that would call close()."""
    ours, theirs = pair
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream, ours)
    theirs.close()
    wait_until(lambda: upstream.closed == 1)
    body.close()


def test_no_line_is_logged_for_a_client_that_left(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no error."""
    with caplog.at_level(logging.WARNING):
        body = a_body(site, iter(range(1000)))
        body.close()
        wait_until(lambda: not producers())
    assert caplog.records == []


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("GET", {"Prefer": "sse-status"}, 503),
        ("POST", {}, 503),
    ],
)
def test_beyond_the_room_for_streams_one_is_refused(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """As its client understands it, and the iterable is closed without being begun."""
    gate = threading.Event()

    def waiting() -> Iterator[str]:
        yield "first"
        gate.wait()

    with site.read(waiting()) as reader:
        assert reader.data(1) == ["first"]
        monkeypatch.setattr(
            answer_response, "places_of", lambda _: Places(2, "threads")
        )
        upstream = Upstream()
        response = site.respond(upstream, method=method, headers=headers)
        assert response.status_code == status
        assert (upstream.closed, upstream._iterator) == (1, None)
        gate.set()


def test_room_is_shared_with_the_streams_of_a_hub(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both take places of one server: either is refused beside the other."""
    site.app.instance_path = str(tmp_path)
    site.app.config["SSE_HUB_LOGIN_REQUIRED"] = False
    SSEHub(site.app)
    app_hub = site.app.extensions["sse_hub"]
    for module in (answer_response, app_hub_module):
        monkeypatch.setattr(module, "places_of", lambda _: Places(2, "threads"))
    prefer = {"Prefer": "sse-status"}
    with Stream(client=site.client) as stream:
        assert stream.next("connected")
        assert site.respond(Upstream(), method="POST").status_code == 503
    wait_until(lambda: app_hub.places_taken() == 0)
    gate = threading.Event()

    def waiting() -> Iterator[str]:
        yield "first"
        gate.wait()

    with site.read(waiting()) as reader:
        assert reader.data(1) == ["first"]
        assert site.client.get("/events", headers=prefer).status_code == 503
        assert site.client.get("/events/health").status_code == 503
        gate.set()
    app_hub.close()
