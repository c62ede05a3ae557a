"""Compressed responses: the negotiated coding, and streams in that coding."""

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from backports import zstd
from flask import Flask, Response, request

from flask_sse_hub import EventSourceResponse
from flask_sse_hub.events.record import Retention
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.close_reason import CloseReason
from flask_sse_hub.runtime import greenlets
from flask_sse_hub.streams.generator import EventStream
from tests.conftest import MakeSite, Site
from tests.kit.decoding import decoder
from tests.kit.hand import HandHub
from tests.kit.reader import wait_until
from tests.kit.sockets import peers
from tests.kit.sse_parser import Parser
from tests.unit.events.test_coding import counted

GZIP = {"Accept-Encoding": "gzip"}
LARGE = "text " * 400
ROWS = [{"order": number, "status": "open"} for number in range(100)]


@pytest.mark.parametrize(
    ("asked", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("gzip;q=0, zstd;q=0", None),
        ("*", "zstd"),
        ("*, zstd;q=0", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("br, deflate", None),
        ("identity", None),
        ("", None),
        ("gzip;q=none, \x7f", None),
    ],
)
def test_a_stream_has_the_coding_that_its_client_prefers(
    site: Site, asked: str, coding: str | None
) -> None:
    """The Vary header tells caches which headers the response depends on."""
    headers = {"Accept-Encoding": asked}
    response = site.browser("alice").get(headers=headers)
    assert response.headers.get("Content-Encoding") == coding
    for name in ("Accept-Encoding", "User-Agent"):
        assert (name in response.vary) == (coding is not None)
    stream = site.read(response)
    stream.next("connected")
    site.hub.publish(ROWS)
    assert json.loads(stream.next("message").data) == ROWS


@pytest.mark.parametrize(
    ("asked", "coding"),
    [
        # The defaults of requests, Go, httpx, and curl --compressed.
        ("gzip, deflate", None),
        ("gzip", None),
        ("gzip, deflate, br, zstd", None),
        ("deflate, gzip, br, zstd", None),
        ("*", None),
        ("gzip;q=0.5, identity;q=0.5", None),
        ("gzip;q=0.4, identity;q=0.5", None),
        ("gzip, identity;q=0.5", "gzip"),
        ("gzip;q=0.5, identity;q=0", "gzip"),
        ("gzip, *;q=0", "gzip"),
        ("gzip, zstd, identity;q=0.5", "zstd"),
        ("identity;q=0", None),
    ],
)
def test_a_program_says_that_it_wants_a_coding(
    site: Site, asked: str, coding: str | None
) -> None:
    """The library requests offers codings also for clients that read below it.

    A program on top of it asks for a coding by ranking ``identity`` below it.
    """
    headers = {"Accept-Encoding": asked, "User-Agent": "python-requests/2.32.5"}
    response = site.browser("alice").get(headers=headers)
    assert response.headers.get("Content-Encoding") == coding
    site.read(response).next("connected")


def test_compression_can_be_turned_off(make_site: MakeSite) -> None:
    """Turn compression off if events mix secrets with text of untrusted authors."""
    site = make_site(compress_min_bytes=None)
    response = site.browser("alice").get(headers=GZIP)
    assert "Content-Encoding" not in response.headers
    site.read(response).next("connected")


def test_a_temporary_refusal_is_not_compressed(make_site: MakeSite) -> None:
    """The body is a single line."""
    site = make_site(max_clients=1)
    site.read(site.browser("alice").get()).next("connected")
    response = site.browser("bob").get(headers=GZIP)
    assert "Content-Encoding" not in response.headers
    assert response.data.startswith(b"retry: ")


@pytest.mark.parametrize("name", ["gzip", "zstd"])
class TestHubStreams:
    """Each byte of a stream is in its coding, and each event is compressed once."""

    def test_a_drain_ends_the_stream_with_a_retry_time(self, name: str) -> None:
        """The farewell follows the events, in the coding of the stream."""
        hub = HandHub()
        stream = hub.stream(coding=hub.parts.codings.named(name))
        hub.publish(LARGE)
        hub.bring()
        assert stream.data() == [LARGE]
        hub.hub.drain()
        stream.read()
        assert stream.ended
        assert re.search(rb"text \n\nretry: \d+\n$", stream.raw)

    def test_a_refusal_after_the_headers_is_readable(self, name: str) -> None:
        """The headers are already sent when the worker turns out to be full."""
        hub = HandHub(max_clients=1)
        hub.stream()
        client = Client(
            "late", identity=Identity(), coding=hub.parts.codings.named(name)
        )
        late = EventStream(hub.hub, client, last_event_id=None, connection=None)
        assert decoder(name)(b"".join(late)).startswith(b"retry: ")

    def test_a_resuming_client_shares_compressed_events(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An event compressed for connected clients is not compressed again."""
        hub = HandHub()
        coding = hub.parts.codings.named(name)
        there, dropped = hub.stream(coding=coding), hub.stream(coding=coding)
        last = dropped.drop()
        hub.publish(LARGE)
        hub.bring()
        assert there.data() == [LARGE]
        pieces = counted(coding, monkeypatch)
        back = hub.stream(coding=coding, last_event_id=last)
        assert back.data() == [LARGE]
        assert not [piece for piece in pieces if len(piece) > len(LARGE)]

    @pytest.mark.parametrize("resumes", [True, False])
    def test_nothing_is_written_after_a_logout(
        self, name: str, resumes: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The logout may come while a large event is compressed in pieces."""
        hub = HandHub(memory=Retention(1, 3600.0, 1_000_000))
        coding = hub.parts.codings.named(name)
        stream = hub.stream(coding=coding)
        last = stream.drop() if resumes else None
        hub.publish("row," * 50_000)
        hub.bring()
        if resumes:
            # The event is no longer in memory, so it is read from the broker.
            hub.publish("later")
            hub.bring()

        def log_out() -> None:
            for client in hub.parts.registry.clients():
                hub.parts.lifecycle.close(client, CloseReason.SESSION_ENDED)

        monkeypatch.setattr(greenlets, "breathe", log_out)
        if resumes:
            stream, greeting = hub.open(coding=coding, last_event_id=last)
            assert [event.type for event in greeting] == ["connected"]
        assert stream.data() == []
        assert stream.ended

    def test_the_events_of_one_write_are_compressed_separately(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise the size would reveal text that two events have in common."""
        hub = HandHub()
        coding = hub.parts.codings.named(name)
        pieces = counted(coding, monkeypatch)
        with peers(hub, codings=[name]) as (peer,):
            texts = [letter * 600 for letter in "abc"]
            for text in texts:
                hub.publish(text)
            hub.bring()
            peer.read_until(texts)
        assert [piece.count(b"\n\n") for piece in pieces if len(piece) > 600] == [1] * 3

    def test_statistics_count_uncompressed_bytes(self, name: str) -> None:
        """A client's bytes are the bytes of its events, in any coding."""
        hub = HandHub()
        plain, coded = hub.stream(), hub.stream(coding=hub.parts.codings.named(name))
        hub.publish(LARGE)
        hub.bring()
        assert plain.data() == coded.data() == [LARGE]
        first, second = hub.hub.stats(clients=True).clients
        assert first.bytes == second.bytes > len(LARGE)


def test_a_stream_that_the_hub_ends_is_complete() -> None:
    """Clients that read zstd may report an incomplete frame as an error."""
    hub = HandHub()
    coding = hub.parts.codings.named("zstd")
    sent = {}
    for reason in (CloseReason.SHUTDOWN, CloseReason.AGE):
        client = Client(reason, identity=Identity(), coding=coding)
        client.close_reason = reason
        sent[reason] = coding.head + hub.hub.farewell(client)
    # decompress() raises an error if the frame is incomplete.
    assert zstd.decompress(sent[CloseReason.SHUTDOWN]).startswith(b"retry: ")
    assert zstd.decompress(sent[CloseReason.AGE]) == b""


class TestAnswers:
    @pytest.fixture
    def app(self) -> Flask:
        app = Flask("answers")

        @app.route("/answer")
        def answer() -> Response:
            compress = "plain" not in request.args
            return EventSourceResponse(iter(ROWS), compress=compress)

        return app

    def test_an_answer_is_compressed_event_by_event(self, app: Flask) -> None:
        """Each event can be read before the next one, and the end is complete."""
        response: Any = app.test_client().get("/answer", headers=GZIP)
        assert response.headers["Content-Encoding"] == "gzip"
        decode = zlib.decompressobj(16 + zlib.MAX_WBITS)
        parser = Parser()
        read = [parser.feed(decode.decompress(chunk)) for chunk in response.response]
        assert [len(events) for events in read] == [0, *[1] * 101, 0]
        assert decode.eof
        events = [json.loads(each.data) for events in read for each in events]
        assert events[:-1] == ROWS

    @pytest.mark.parametrize(
        ("url", "asked"), [("/answer", "identity"), ("/answer?plain", "gzip")]
    )
    def test_an_answer_can_be_left_uncompressed(
        self, app: Flask, url: str, asked: str
    ) -> None:
        """The client or the app may turn compression off."""
        headers = {"Accept-Encoding": asked}
        response = app.test_client().get(url, headers=headers)
        assert "Content-Encoding" not in response.headers
        assert response.data.startswith(b":")

    def test_similar_events_compress_well(self, app: Flask) -> None:
        """Each event is compressed with reference to the ones before it."""
        client = app.test_client()
        compressed = client.get("/answer", headers=GZIP).data
        assert len(compressed) < len(client.get("/answer").data) / 2

    def test_closing_the_response_closes_its_iterable(self, app: Flask) -> None:
        """The iterable and the app's close callbacks are each called once."""
        closed: list[str] = []

        @app.after_request
        def after(response: Response) -> Response:
            response.call_on_close(lambda: closed.append("response"))
            return response

        def rows() -> Iterator[Any]:
            try:
                yield from ROWS
            finally:
                closed.append("iterable")

        app.add_url_rule("/rows", view_func=lambda: EventSourceResponse(rows()))
        response = app.test_client().get("/rows", headers=GZIP)
        next(iter(response.response))
        response.close()
        response.close()
        wait_until(lambda: sorted(closed) == ["iterable", "response"])
