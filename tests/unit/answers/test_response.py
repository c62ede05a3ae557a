"""Streams of one request: the client receives the values that a view yields."""

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
from flask_sse_hub.answers.body import AnswerBody
from flask_sse_hub.server.places import PlaceLedger
from flask_sse_hub.server.surroundings import Places
from flask_sse_hub.testing import Stream
from flask_sse_hub.web import app_state
from tests.kit.reader import DEADLINE, EndOfStream, StreamReader, wait_until
from tests.unit.answers.test_producer import Upstream


class Site:
    """An app with one view, which streams a given iterable."""

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


# Content of the stream


def test_each_value_is_an_event(site: Site) -> None:
    """Text is sent unchanged; other values go through the app's JSON provider."""
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
    """The app's JSON provider may serialise more types than the standard library."""
    site.app.json.default = lambda value: "as the app has it"  # type: ignore[attr-defined]
    assert until_done(site.read([{"n": object()}])) == ['{"n": "as the app has it"}']


def test_an_event_may_set_the_reconnect_delay(site: Site) -> None:
    """The delay is for clients that reconnect by themselves."""
    reader = site.read([Event("x", retry=2.5)])
    assert until_done(reader) == ["x"]
    assert reader.parser.retry_ms == 2500


def test_the_first_bytes_are_sent_at_once(site: Site) -> None:
    """Otherwise onopen would wait for the first token, and a proxy might time out."""
    going_on = threading.Event()
    reader = site.read(going_on.wait() and "a" for _ in range(1))
    wait_until(lambda: not reader._arrived.empty())
    assert reader._arrived.queue[0] == b":\n"
    going_on.set()
    assert until_done(reader) == ["a"]


def test_the_headers_are_the_same_as_for_other_streams(site: Site) -> None:
    """Proxies do not buffer the response, and the response sets no cookie."""
    headers = site.respond(["a"]).headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "private, no-cache, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Set-Cookie" not in headers


def test_a_post_request_can_be_answered(site: Site) -> None:
    """A prompt may be longer than a URL."""
    assert until_done(site.read(["a"], method="POST")) == ["a"]


def test_a_silent_stream_sends_comments(site: Site) -> None:
    """Scripts do not see comments, and proxies keep the connection open."""
    going_on = threading.Event()
    reader = site.read((going_on.wait() and "a" for _ in range(1)), heartbeat=0.01)
    wait_until(lambda: reader._arrived.qsize() > 3)
    going_on.set()
    assert until_done(reader) == ["a"]
    assert len(reader.parser.comments) > 3


def test_an_item_may_change_after_it_was_yielded(site: Site) -> None:
    """The iterable runs ahead of the writes."""

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


# End of the stream


@pytest.mark.parametrize("how", ["header", "query"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_client_that_returns_after_the_end_receives_a_204(
    site: Site, how: str, method: str
) -> None:
    """EventSource repeats a GET, and other clients a POST: the work would run again."""
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


def test_a_view_that_returns_an_explicit_200_sends_a_204_too(site: Site) -> None:
    """A native EventSource would return to an empty stream every few seconds."""

    @site.app.get("/explicit")
    def explicit() -> tuple[Response, int]:
        return EventSourceResponse(["a"]), 200

    again = f"/explicit?last_event_id={site.read([]).next('done').id}"
    assert site.client.get(again).status_code == 204


def test_a_304_has_no_body(site: Site) -> None:
    """A body after a 304 would be read as the next response. Hooks may cause a 304."""

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
def test_unknown_event_ids_are_ignored(site: Site, last: str) -> None:
    """The id may come from a hub that the app used before."""
    assert until_done(site.read(["a"], headers={"Last-Event-ID": last})) == ["a"]


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
def test_an_error_is_sent_without_details_and_logged(
    site: Site,
    failing: Callable[[], Iterator[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Earlier events are sent. The id of the error event is in the log line."""
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


def test_an_error_keeps_no_reference_to_the_iterable(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The iterable's objects are freed at once, without the garbage collector."""
    # pytest would keep a reference to the logged error.
    monkeypatch.setattr(logging.getLogger(AnswerBody.__module__), "disabled", True)
    held: list[weakref.ref[Any]] = []

    class Connection:
        """A connection that is never closed explicitly."""

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


def test_an_error_is_logged_even_if_the_client_has_left(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The iterable runs ahead, so it may fail after its client has left."""
    body = a_body(site, in_the_middle())
    wait_until(lambda: body._producer._ended)
    body.close()
    body.close()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


# Batches


def test_a_batch_is_one_write_with_several_events(site: Site) -> None:
    """Events keep their order, and the rest is sent at the end."""
    chunks = list(
        site.respond(map(str, range(25)), batch=Batch(size=10, interval=60)).response
    )
    assert [chunk.count(b"data: ") for chunk in chunks] == [0, 10, 10, 6]
    assert b"event: done" in chunks[-1]


def test_a_batch_is_sent_after_its_interval(site: Site) -> None:
    """The batch does not wait for a further item."""
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
    """Ten tokens become one event with their joined text."""
    batch = Batch(size=10, interval=60, merge="".join)
    assert until_done(site.read("abcdefghijkl".__iter__(), batch=batch)) == [
        "abcdefghij",
        "kl",
    ]


@pytest.mark.parametrize("count", [2, 3], ids=["when full", "at the end"])
def test_a_failing_merge_is_an_error(
    site: Site, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream ends as if the iterable had failed."""
    upstream = Upstream(lambda: iter([1] * count))
    batch = Batch(size=2 if count == 2 else 10, merge="".join)
    ((type, data),) = rest_of(site.read(upstream, batch=batch))
    assert type == "error"
    assert json.loads(data)["id"] in caplog.text
    wait_until(lambda: upstream.closed == 1)


def test_two_errors_are_both_logged_but_only_one_is_sent(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the id that the client received is in the log."""

    def failing() -> Iterator[int]:
        yield 1
        raise LookupError

    ((type, data),) = rest_of(site.read(failing(), batch=Batch(merge="".join)))
    assert type == "error"
    wait_until(lambda: len(caplog.records) == 2)
    assert caplog.text.count("was told with the id") == 1
    assert json.loads(data)["id"] in caplog.text


# Contexts


def test_there_is_no_context_by_default(site: Site) -> None:
    """The request is over, and so is its database session."""

    def looking() -> Iterator[bool]:
        yield has_app_context() or has_request_context()

    assert until_done(site.read(looking())) == ["false"]


def test_an_app_context_lasts_for_the_whole_iteration(site: Site) -> None:
    """The context includes closing, and is torn down before the client sees the end."""
    torn_down: list[Any] = []

    def working() -> Iterator[str]:
        try:
            app_globals.found = current_app.name
            yield app_globals.found
        finally:
            app_globals.closed = has_app_context()

    # The teardown of the request's own context is recorded too.
    site.app.teardown_appcontext(
        lambda error: torn_down.append(app_globals.get("closed"))
    )
    assert until_done(site.read(working(), app_context=True)) == ["site"]
    assert sorted(torn_down, key=str) == [None, True]


def test_no_app_context_ends_within_the_view(site: Site) -> None:
    """A teardown could end the view's database session if sessions are per thread."""
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


def test_an_app_context_ends_when_the_client_leaves(site: Site) -> None:
    """The context's database connection returns to the pool."""
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


def test_no_reference_to_the_request_is_kept(site: Site) -> None:
    """A stream may stay open for a long time."""
    requests: list[weakref.ref[Any]] = []
    going_on = threading.Event()
    environs: list[weakref.ref[Any]] = []

    class Environ(dict[str, Any]):
        """A dict that supports weak references."""

    @site.app.get("/kept")
    def kept() -> Response:
        requests.append(weakref.ref(flask_request._get_current_object()))  # type: ignore[attr-defined]
        return EventSourceResponse(going_on.wait() and "a" for _ in range(1))

    environ = Environ(EnvironBuilder("/kept").get_environ())
    environs.append(weakref.ref(environ))
    body = site.app(environ, lambda *_: lambda _: None)
    del environ
    chunks = iter(body)
    assert next(chunks) == b":\n"
    gc.collect()
    assert requests[0]() is None
    assert environs[0]() is None
    going_on.set()
    body.close()  # type: ignore[attr-defined]


# Unusual beginnings and ends


def test_a_head_request_does_not_iterate(site: Site) -> None:
    """The iterable is closed, and the response is a 200."""
    upstream = Upstream(lambda: pytest.fail("it was iterated"))
    response = site.respond(upstream, method="HEAD")
    assert response.status_code == 200
    response.close()
    assert upstream.closed == 1


def test_closing_stops_the_iterable_and_runs_close_callbacks(site: Site) -> None:
    """Both happen once, even if the response is closed several times."""
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
    """A worker interrupts a response at its timeout, and then calls nothing more."""
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream)

    def interrupt(timeout: float) -> None:
        raise SystemExit

    body._producer.take = interrupt  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        next(body)
    wait_until(lambda: upstream.closed == 1)


def test_a_sync_server_is_refused(site: Site) -> None:
    """The stream would block all other requests. The error names the fix."""
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
        ([], {"protocol": "sse"}),
    ],
    ids=str,
)
def test_an_invalid_iterable_or_option_is_refused(
    site: Site, iterable: Any, options: dict[str, Any]
) -> None:
    """The error is raised in the view, where its author sees it."""
    with (
        site.app.test_request_context("/answer"),
        pytest.raises(ConfigurationError),
    ):
        EventSourceResponse(iterable, **options)


# Departures


def a_body(
    site: Site,
    iterable: Iterable[Any],
    connection: socket.socket | None = None,
    **options: Any,
) -> AnswerBody:
    shown = {"werkzeug.socket": connection} if connection else {}
    with site.app.test_request_context(
        "/answer", environ_overrides={"wsgi.multithread": True, **shown}
    ):
        body = EventSourceResponse(iterable, **options).response
    assert isinstance(body, AnswerBody)
    assert next(body) == b":\n"
    return body


def test_a_peer_that_may_have_left_is_probed(site: Site) -> None:
    """The probe is a comment that does not end a block."""
    going_on = threading.Event()
    body = a_body(site, (going_on.wait() for _ in range(1)))
    body.probe()
    assert next(body) == b":\n"
    body.close()
    going_on.set()


def test_a_departed_peer_ends_the_stream_and_the_iterable(site: Site) -> None:
    """No event is sent, and the server does not wait."""
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream)
    body.peer_left()
    assert next(body, None) is None
    wait_until(lambda: upstream.closed == 1)


def test_a_stopping_worker_ends_the_stream_after_the_yielded_items(site: Site) -> None:
    """The error event has the reason and an id that prevents a second run."""
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


def test_a_stopping_worker_sends_done_if_the_iterable_has_ended(
    site: Site,
) -> None:
    """The answer is complete, so the client receives no error."""
    body = a_body(site, ["a"])
    wait_until(lambda: body._producer._ended)
    body.worker_leaves()
    assert until_done(StreamReader(body)) == ["a"]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a connection: ours and the peer's."""
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_blocking_write_is_cut_off(
    site: Site, pair: tuple[socket.socket, socket.socket]
) -> None:
    """cut() shuts down the connection, unless the server has already closed it."""
    ours, theirs = pair
    body = a_body(site, [], ours)
    body.cut()
    assert theirs.recv(1) == b""
    body.close()
    body.cut()


def test_a_stopping_worker_accepts_no_further_request_on_the_connection(
    site: Site, pair: tuple[socket.socket, socket.socket], monkeypatch: Any
) -> None:
    """The connection's stream has ended. Bytes already written are still sent."""
    ours, theirs = pair
    body = a_body(site, [], ours)
    monkeypatch.setattr(body._watch, "_leave_at", 0.0)
    ours.sendall(b"".join(body))
    assert ours.recv(1) == b""
    assert b"event: done" in theirs.recv(1000)


def test_a_departed_client_is_noticed_between_heartbeats(
    site: Site, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The server does not have to call close()."""
    ours, theirs = pair
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream, ours)
    theirs.close()
    wait_until(lambda: upstream.closed == 1)
    body.close()


def test_no_line_is_logged_for_a_departed_client(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that leaves is no error."""
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
def test_a_stream_beyond_the_servers_places_is_refused(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """The refusal suits the client. The iterable is closed without being started."""
    gate = threading.Event()

    def waiting() -> Iterator[str]:
        yield "first"
        gate.wait()

    places = PlaceLedger(lambda: Places(2, "threads"))
    monkeypatch.setattr(answer_response, "place_ledger", lambda: places)
    with site.read(waiting()) as reader:
        assert reader.data(1) == ["first"]
        upstream = Upstream()
        response = site.respond(upstream, method=method, headers=headers)
        assert response.status_code == status
        assert response.cache_control.private
        assert (upstream.closed, upstream._iterator) == (1, None)
        gate.set()


def test_places_are_shared_with_the_streams_of_a_hub(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each kind of stream is refused if the other kind has taken the places."""
    site.app.instance_path = str(tmp_path)
    site.app.config["SSE_HUB_LOGIN_REQUIRED"] = False
    SSEHub(site.app)
    places = PlaceLedger(lambda: Places(2, "threads"))
    for module in (answer_response, app_state):
        monkeypatch.setattr(module, "place_ledger", lambda: places)
    prefer = {"Prefer": "sse-status"}
    with Stream(client=site.client) as stream:
        assert stream.next("connected")
        assert site.respond(Upstream(), method="POST").status_code == 503
    wait_until(lambda: len(places) == 0)
    gate = threading.Event()

    def waiting() -> Iterator[str]:
        yield "first"
        gate.wait()

    with site.read(waiting()) as reader:
        assert reader.data(1) == ["first"]
        assert site.client.get("/events", headers=prefer).status_code == 503
        assert site.client.get("/events/health").status_code == 503
        gate.set()
    site.app.extensions["sse_hub"].close()
