"""Streams of one request: the client receives the values that a view yields."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Response
from flask import request as flask_request

from flask_sse_hub import (
    Batch,
    ConfigurationError,
    Event,
    EventSourceResponse,
    SSEHub,
    UnsupportedServer,
)
from flask_sse_hub.answers import response as answer_response
from flask_sse_hub.server.places import PlaceLedger
from flask_sse_hub.server.surroundings import Places
from flask_sse_hub.testing import Stream
from flask_sse_hub.web import app_state
from tests.kit.reader import wait_until
from tests.unit.answers.conftest import Site, rest_of, until_done
from tests.unit.answers.test_producer import Upstream


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


@dataclass
class Shipped:
    """The data of a typed event."""

    number: int


def test_a_typed_event_is_sent_with_its_type(site: Site) -> None:
    """Its data is checked, also in an Event. Data that does not fit ends the answer."""
    site.app.secret_key = "s3cret"
    site.app.config |= {
        "SSE_HUB_BROKER_URL": "memory://",
        "SSE_HUB_LOGIN_REQUIRED": False,
    }
    SSEHub(site.app).event("shipped")(Shipped)
    items = [Shipped(7), Event('{"number": 8}', type="shipped"), Shipped("x")]  # type: ignore[arg-type]
    seen = rest_of(site.read(items))
    assert seen[:-1] == [("shipped", '{"number": 7}'), ("shipped", '{"number": 8}')]
    assert seen[-1][0] == "error"


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


def test_a_head_request_does_not_iterate(site: Site) -> None:
    """The iterable is closed, and the response is a 200."""
    upstream = Upstream(lambda: pytest.fail("it was iterated"))
    response = site.respond(upstream, method="HEAD")
    assert response.status_code == 200
    response.close()
    assert upstream.closed == 1


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
