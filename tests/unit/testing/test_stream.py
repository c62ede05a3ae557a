"""The testing kit's Stream, read from a hub, from plain views and from a server."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request
from werkzeug.serving import make_server

from flask_sse_hub import ConfigurationError, SSEHub
from flask_sse_hub.events.event import encode_block
from flask_sse_hub.testing import EventMissing, Stream, UnexpectedEvent
from tests.conftest import MakeSite, Site
from tests.kit.reader import wait_until

#: How long a test waits for an event that must not come, in seconds.
SHORTLY = 0.05

OpenStream = Callable[..., Stream]


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site whose streams are open to every client."""
    return make_site(login_required=False, public_channels=["news"])


@pytest.fixture
def hub(site: Site) -> SSEHub:
    return site.hub


@pytest.fixture(params=["test client", "server"])
def opened(request: pytest.FixtureRequest, site: Site) -> Iterator[OpenStream]:
    """Open streams of the site, without a server and with one."""
    streams: list[Stream] = []
    server = make_server("127.0.0.1", 0, site.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    live = request.param == "server"
    if live:
        thread.start()

    def open_stream(url: str = "/events", **options: Any) -> Stream:
        if live:
            stream = Stream(f"http://127.0.0.1:{server.port}{url}", **options)
        else:
            stream = Stream(url, client=site.app.test_client(), **options)
        streams.append(stream)
        return stream

    yield open_stream
    for stream in streams:
        stream.close()
    if live:
        server.shutdown()
        thread.join()
    server.server_close()


def connections(site: Site) -> int:
    return site.hub.stats().connections


# A stream, with a server and without


def test_a_published_event_arrives(opened: OpenStream, hub: SSEHub) -> None:
    """The stream is open at once, and next() skips the hub's own greeting."""
    stream = opened("/events?channel=news")
    event_id = hub.publish({"text": "hello"}, type="note", channel="news")
    event = stream.next(type="note")
    assert event.json() == {"text": "hello"}
    assert event.id == event_id == stream.last_event_id
    assert stream.status == 200
    assert stream.retry is not None


def test_an_event_names_its_only_channel(site: Site, hub: SSEHub) -> None:
    """A channel beside another target is not told, live or at a resume."""
    targets: list[dict[str, Any]] = [
        {"channel": "news"},
        {"channel": ["news", "sport"]},
        {"channel": "news", "user": "7"},
        {},
        {"channel": ["news"]},
    ]
    begin = hub.cursor()
    client = site.app.test_client()
    with Stream("/events?channel=news", client=client) as live:
        for target in targets:
            hub.publish("x", **target)
        seen = [event.channel for event in live.events(len(targets))]
    with Stream("/events?channel=news", client=client, last_event_id=begin) as late:
        seen += [event.channel for event in late.events(len(targets))]
    assert seen == ["news", None, None, None, "news"] * 2


def test_a_dropped_client_resumes(opened: OpenStream, site: Site, hub: SSEHub) -> None:
    """The client receives the events it missed, in order and without repeats."""
    stream = opened()
    hub.publish("1")
    assert stream.next().data == "1"
    stream.drop()
    hub.publish("2")
    hub.publish("3")
    stream.resume()
    assert stream.next(type="connected").json()["resumed"] is True
    assert [event.data for event in stream.events(2)] == ["2", "3"]


def test_a_gap_is_answered_with_a_reset(opened: OpenStream, hub: SSEHub) -> None:
    """The reset is not hidden, because every app has to handle it."""
    stream = opened()
    hub.publish("lost")
    stream.resume(gap=True)
    assert stream.next(type="reset").json() == {"reason": "epoch"}


def test_rest_waits_for_the_end_by_the_server(opened: OpenStream, hub: SSEHub) -> None:
    """The events up to the end are returned."""
    stream = opened()
    client_id = stream.next(type="connected").json()["client_id"]
    hub.publish("last")
    wait_until(lambda: stream.last_event_id == hub.cursor())
    hub.disconnect(client=client_id)
    assert [event.data for event in stream.rest()] == ["last"]
    assert stream.ended


def test_a_refusal_has_its_status_and_text(opened: OpenStream) -> None:
    """Waiting for an event of a refused stream is an error that shows the status."""
    stream = opened("/events?channel=secret")
    assert stream.status == 403
    assert stream.ended
    assert "secret" in stream.text
    for wait in (stream.next, stream.rest):
        with pytest.raises(EventMissing, match="answered with 403"):
            wait()


def test_an_error_lists_the_events_that_came_instead(
    opened: OpenStream, hub: SSEHub
) -> None:
    """A failed test gives its reason without being run again."""
    stream = opened()
    hub.publish("something else", type="other")
    with pytest.raises(EventMissing) as raised:
        stream.next(type="note", within=0.3)
    assert "no event of type 'note' came from" in str(raised.value)
    assert "within 0.3 s: the stream is open" in str(raised.value)
    assert "\n  connected: {" in str(raised.value)
    assert "\n  other: something else" in str(raised.value)


def test_a_closed_stream_leaves_nothing_open(
    opened: OpenStream, site: Site, hub: SSEHub
) -> None:
    """Neither a client in the hub nor a thread remains."""
    with opened() as stream:
        assert connections(site) == 1
        stream.close()
    assert not [t for t in threading.enumerate() if t.name == "sse-test-stream"]
    hub.publish("closed streams are noticed at the latest now")
    wait_until(lambda: connections(site) == 0)


def test_a_slow_client_catches_up(opened: OpenStream, site: Site) -> None:
    """Behind a server the kernel's buffers fill first; after that the client lags."""
    stream = opened()
    with stream.paused():
        # More than the kernel buffers for a connection that is not read.
        for number in range(12):
            site.hub.publish(f"{number} {'x' * 1_000_000}")
        (client,) = site.app.extensions["sse_hub"].hub.clients()
        wait_until(lambda: client.sink.writing_since is not None)
        wait_until(lambda: site.hub.stats().lagging == 1)
    numbers = [event.data.partition(" ")[0] for event in stream.events(12)]
    assert numbers == [str(number) for number in range(12)]


# Without a server


def stream_of(site: Site, url: str = "/events", **options: Any) -> Stream:
    return Stream(url, client=site.app.test_client(), **options)


def test_the_cookies_of_the_client_are_sent(make_site: MakeSite) -> None:
    """The stream belongs to the user who has logged in, as in a browser."""
    browser = make_site().browser("ann")
    with Stream(client=browser.client) as stream:
        assert stream.next(type="connected").json()["user_id"] == "ann"


def test_a_client_in_a_with_block_can_be_used(site: Site) -> None:
    """Requests of such a client keep their context, which a stream does not need."""
    with site.app.test_client() as client:
        client.get("/page")
        with Stream(client=client) as stream:
            assert stream.status == 200
            assert request.path == "/page"
            client.get("/page")


def test_a_client_that_takes_nothing_lags(site: Site) -> None:
    """The hub sees the client lagging, and the client reads on afterwards."""
    with stream_of(site) as stream:
        (client,) = site.app.extensions["sse_hub"].hub.clients()
        wait_until(lambda: client.sink.writing_since is None)
        with stream.paused():
            on_its_way = site.hub.publish("0")
            wait_until(lambda: stream.last_event_id == on_its_way)
            for number in range(1, 5):
                site.hub.publish(str(number))
            assert stream.next().data == "0"
            with pytest.raises(EventMissing, match="takes nothing within paused"):
                stream.next(within=SHORTLY)
            wait_until(lambda: client.sink.writing_since is not None)
        assert [event.data for event in stream.events(4)] == ["1", "2", "3", "4"]


def test_an_error_has_the_number_of_events_that_came(site: Site) -> None:
    """The events themselves are listed too, if there were too few."""
    with stream_of(site) as stream:
        site.hub.publish("one")
        with pytest.raises(EventMissing) as raised:
            stream.events(2, within=0.3)
    assert raised.value.__notes__ == ["1 of 2 events had come:\n  message: one"]


def test_next_waits_for_one_of_several_types(opened: OpenStream, hub: SSEHub) -> None:
    """The first event of any of the types is returned; an error names every type."""
    stream = opened()
    hub.publish("x", type="note")
    hub.publish("y", type="done")
    assert stream.next(type=("error", "done")).data == "y"
    with pytest.raises(EventMissing, match="type 'error' or 'done' came"):
        stream.next(type=["error", "done"], within=SHORTLY)


def test_an_error_says_why_the_hub_ended_the_stream(make_site: MakeSite) -> None:
    """A test that opens too many streams for one user is hard to find otherwise."""
    site = make_site(max_clients_per_user=1)
    client = site.browser("alice").client
    told = pytest.raises(EventMissing, match=r"ended the stream \(.*1 evicted\)")
    with Stream(client=client) as first, Stream(client=client), told:
        first.next()


def test_none_fails_if_an_event_comes(opened: OpenStream, hub: SSEHub) -> None:
    """The event that came is still there for next()."""
    stream = opened()
    hub.publish("x", type="note")
    stream.none(type="billed", within=SHORTLY)
    with pytest.raises(UnexpectedEvent, match="note: x"):
        stream.none(within=5)
    assert stream.next().data == "x"
    stream.none(within=SHORTLY)


def test_none_fails_if_no_stream_is_open(site: Site) -> None:
    """A test would pass because its client was refused or has gone."""
    refused = Stream("/events?channel=secret", client=site.app.test_client())
    with refused, pytest.raises(EventMissing, match="answered with 403"):
        refused.none(within=5)
    stream = stream_of(site)
    with stream.paused(), pytest.raises(EventMissing, match="takes nothing"):
        stream.none(within=SHORTLY)
    stream.drop()
    with pytest.raises(EventMissing, match="dropped"):
        stream.none(within=5)


def test_reading_a_dropped_stream_is_an_error(site: Site) -> None:
    """A test that forgot resume() does not wait for the deadline."""
    stream = stream_of(site)
    stream.drop()
    assert not stream.ended
    with pytest.raises(EventMissing, match="call resume"):
        stream.next()


def test_a_path_needs_a_client() -> None:
    """The error says which client is meant."""
    with pytest.raises(ConfigurationError, match=r"app\.test_client\(\)"):
        Stream("/events")


def view(site: Site, respond: Callable[[], Iterator[bytes]]) -> str:
    """Add a view that streams the given chunks, and return its path."""

    @site.app.route("/view", methods=["GET", "POST"])
    def streams() -> Response:
        return Response(respond(), mimetype="text/event-stream")

    return "/view"


def test_any_view_that_streams_can_be_read(site: Site) -> None:
    """The view need not use this package; a JSON body makes the request a POST."""

    def answer() -> Iterator[bytes]:
        assert request.method == "POST"
        words = request.json["words"]
        return (encode_block(word) for word in words)

    with stream_of(site, view(site, answer), json={"words": ["a", "b"]}) as stream:
        assert [event.data for event in stream.rest()] == ["a", "b"]


def test_a_204_has_no_events(site: Site) -> None:
    """The status says that there are no more events, which is no refusal."""
    site.app.add_url_rule("/finished", view_func=lambda: ("", 204))
    with stream_of(site, "/finished") as stream:
        assert stream.rest() == []
        assert stream.ended


def test_an_error_of_the_view_is_raised(site: Site) -> None:
    """The test client raises the errors of any other view too."""

    def answer() -> Iterator[bytes]:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        stream_of(site, view(site, answer))


def test_an_error_in_the_middle_of_a_stream_is_the_cause(site: Site) -> None:
    """Waiting for the next event, or for the end, fails because of the app's error."""

    def answer() -> Iterator[bytes]:
        yield encode_block("begun")
        raise LookupError("no such thing")

    with stream_of(site, view(site, answer)) as stream:
        assert stream.next().data == "begun"
        with pytest.raises(EventMissing, match="the app raised LookupError") as raised:
            stream.next()
        assert isinstance(raised.value.__cause__, LookupError)
        with pytest.raises(LookupError):
            stream.rest()


def test_a_view_that_does_not_answer_is_given_up(site: Site) -> None:
    """The deadline counts from the request on. A warning says that a thread hangs."""
    stuck = threading.Event()

    def answer() -> Iterator[bytes]:
        stuck.wait()
        yield b""

    url = view(site, answer)
    with (
        pytest.warns(ResourceWarning, match="holds a thread"),
        pytest.raises(EventMissing, match="did not answer within"),
    ):
        stream_of(site, url, within=SHORTLY)
    stuck.set()


def test_a_middleware_does_not_keep_a_stream_open(site: Site, hub: SSEHub) -> None:
    """A generator that waits cannot be closed, but the stream inside it can."""
    wrap_body_of(site.app)
    with stream_of(site) as stream:
        hub.publish("x")
        assert stream.next().data == "x"
    assert hub.stats().closed == {"client_gone": 1}
    assert not [each for each in threading.enumerate() if "test-stream" in each.name]


def wrap_body_of(app: Flask) -> None:
    """Wrap an app's body in a generator that handles each chunk, as profilers do."""
    inner = app.wsgi_app

    def wrapped(*request: Any) -> Iterator[bytes]:
        body = inner(*request)
        try:
            yield from body
        finally:
            body.close()  # type: ignore[attr-defined]

    app.wsgi_app = wrapped  # type: ignore[assignment,method-assign]


def test_a_view_that_never_stops_is_held_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unread events hold the view back, and the deadline holds in an endless stream."""
    monkeypatch.setattr("flask_sse_hub.testing.reading._MAX_WAITING", 10)
    made = itertools.count()
    last = 0

    def answer() -> Iterator[bytes]:
        nonlocal last
        for last in made:
            yield encode_block(str(last))

    with stream_of(site, view(site, answer)) as stream:
        wait_until(lambda: last == 9)
        assert [event.data for event in stream.events(30)][-1] == "29"
        assert last < 30 + 10
        with pytest.raises(EventMissing, match="the stream is open"):
            stream.next(type="note", within=SHORTLY)
        with pytest.raises(EventMissing, match="the end of the stream did not come"):
            stream.rest(within=SHORTLY)


def test_the_cleanup_of_a_view_runs_once(site: Site) -> None:
    """Functions added with call_on_close() run once, however the stream ended."""
    ends: list[str] = []

    def answer() -> Iterator[bytes]:
        try:
            yield encode_block("begun")
            yield encode_block("more")
        finally:
            ends.append("view")

    url = view(site, answer)

    @site.app.after_request
    def note(response: Response) -> Response:
        response.call_on_close(lambda: ends.append("response"))
        return response

    with stream_of(site, url) as stream:
        stream.rest()
        stream.drop()
    assert ends == ["view", "response"]


# Without an app


def test_a_server_that_is_silent_is_given_up() -> None:
    """A connection without a response does not count as an answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(EventMissing, match="did not answer within"):
            Stream(url, within=SHORTLY)


def test_a_server_that_is_not_there_is_an_error() -> None:
    """The system's own error is raised, because it says it best."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        Stream(f"http://127.0.0.1:{port}/")


def test_a_server_receives_the_same_request_as_a_test_client(
    opened: OpenStream, site: Site
) -> None:
    """The request has the given body and headers."""

    def answer() -> Iterator[bytes]:
        word = f"{request.method} {request.json} {request.headers['X-Of']}"
        return iter([encode_block(word)])

    stream = opened(view(site, answer), json=[1], headers={"X-Of": "mine"})
    assert stream.next().data == "POST [1] mine"


def test_a_connection_that_breaks_ends_the_stream() -> None:
    """As in a browser, events that were complete before the break can be read."""

    def break_off(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n5\r\nda"
            )

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=break_off, args=[server])
        thread.start()
        with Stream(f"http://127.0.0.1:{server.getsockname()[1]}") as stream:
            assert [event.data for event in stream.rest()] == ["x"]
            assert stream.ended
        thread.join()


def test_a_compressed_stream_is_refused(opened: OpenStream) -> None:
    """Waiting would be in vain, because the kit reads only plain text."""
    stream = opened(headers={"Accept-Encoding": "gzip, identity;q=0"})
    with pytest.raises(EventMissing, match="it is in gzip, which is not read here"):
        stream.next(within=SHORTLY)
