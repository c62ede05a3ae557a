"""Compressed responses: who gets which coding, and what a stream is in it."""

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from backports import zstd
from flask import Flask, Response, request

from flask_sse_hub import EventSourceResponse
from flask_sse_hub.hub.clients.client import Client, CloseReason, Identity
from flask_sse_hub.hub.delivery.history import Retention
from flask_sse_hub.runtime import native
from flask_sse_hub.streams.generator import EventStream
from tests.conftest import MakeSite, Site
from tests.decoding import decoder
from tests.hand import HandHub
from tests.reader import wait_until
from tests.sockets import peers
from tests.sse_parser import Parser
from tests.test_coding import counted

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
def test_a_stream_has_the_coding_that_its_client_likes_best(
    site: Site, asked: str, coding: str | None
) -> None:
    """And caches are told what it depends on."""
    response = site.browser("alice").get(headers={"Accept-Encoding": asked})
    assert response.headers.get("Content-Encoding") == coding
    assert ("Accept-Encoding" in response.vary) == (coding is not None)
    stream = site.read(response)
    stream.next("connected")
    site.hub.publish(ROWS)
    assert json.loads(stream.next("message").data) == ROWS


def test_compression_can_be_off(make_site: MakeSite) -> None:
    """For an app whose events mix secrets with what strangers have written."""
    site = make_site(compress_min_bytes=None)
    response = site.browser("alice").get(headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers
    site.read(response).next("connected")


def test_a_refusal_that_passes_is_no_compressed_stream(make_site: MakeSite) -> None:
    """It is one line."""
    site = make_site(max_clients=1)
    site.read(site.browser("alice").get()).next("connected")
    response = site.browser("bob").get(headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers
    assert response.data.startswith(b"retry: ")


@pytest.mark.parametrize("name", ["gzip", "zstd"])
class TestHubStreams:
    """Each byte of a stream is in its coding, and events are compressed once."""

    def test_a_drain_says_farewell(self, name: str) -> None:
        """After what came before, in the coding of the stream."""
        hub = HandHub()
        stream = hub.stream(coding=hub.hub.codings.named(name))
        hub.publish(LARGE)
        hub.bring()
        assert stream.data() == [LARGE]
        hub.hub.drain()
        stream.read()
        assert stream.ended
        assert re.search(rb"text \n\nretry: \d+\n\n$", stream.raw)

    def test_a_refusal_in_the_last_moment_can_be_read(self, name: str) -> None:
        """The head has been sent when it turns out that there is no room."""
        hub = HandHub(max_clients=1)
        hub.stream()
        client = Client("late", identity=Identity(), coding=hub.hub.codings.named(name))
        late = EventStream(hub.hub, client, last_event_id=None, connection=None)
        assert decoder(name)(b"".join(late)).startswith(b"retry: ")

    def test_who_resumes_shares_what_others_got(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was compressed for those who were there is not compressed again."""
        hub = HandHub()
        coding = hub.hub.codings.named(name)
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
        """Which may come while a large event is compressed, and others have a turn."""
        hub = HandHub(memory=Retention(1, 3600.0, 1_000_000))
        coding = hub.hub.codings.named(name)
        stream = hub.stream(coding=coding)
        last = stream.drop() if resumes else None
        hub.publish("row," * 50_000)
        hub.bring()
        if resumes:
            # Its event is not in the memory any more, and so comes with the greeting.
            hub.publish("later")
            hub.bring()

        def log_out() -> None:
            for client in hub.hub.registry.clients():
                hub.hub.dispatcher.close(client, CloseReason.SESSION_ENDED)

        monkeypatch.setattr(native, "breathe", log_out)
        if resumes:
            stream, greeting = hub.open(coding=coding, last_event_id=last)
            assert [event.type for event in greeting] == ["connected"]
        assert stream.data() == []
        assert stream.ended

    def test_events_of_one_write_are_compressed_each_by_itself(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or their size would tell what one has in common with a stranger's."""
        hub = HandHub()
        coding = hub.hub.codings.named(name)
        pieces = counted(coding, monkeypatch)
        with peers(hub, codings=[name]) as (peer,):
            texts = [letter * 600 for letter in "abc"]
            for text in texts:
                hub.publish(text)
            hub.bring()
            peer.read_until(texts)
        assert [piece.count(b"\n\n") for piece in pieces if len(piece) > 600] == [1] * 3

    def test_statistics_count_what_was_published(self, name: str) -> None:
        """Bytes are the events', by whatever coding they left."""
        hub = HandHub()
        plain, coded = hub.stream(), hub.stream(coding=hub.hub.codings.named(name))
        hub.publish(LARGE)
        hub.bring()
        assert plain.data() == coded.data() == [LARGE]
        first, second = hub.hub.stats(clients=True).clients
        assert first.bytes == second.bytes > len(LARGE)


def test_a_stream_that_the_hub_ends_is_whole() -> None:
    """In zstd, whose clients may take it for an error otherwise."""
    hub = HandHub()
    coding = hub.hub.codings.named("zstd")
    sent = {}
    for reason in (CloseReason.SHUTDOWN, CloseReason.AGE):
        client = Client(reason, identity=Identity(), coding=coding)
        client.close_reason = reason
        sent[reason] = coding.head + hub.hub.farewell(client)
    # It raises an error where a frame is not whole.
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

    def test_it_is_compressed_as_it_comes(self, app: Flask) -> None:
        """Each event can be read before the next one, and the end is whole."""
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
    def test_it_need_not_be(self, app: Flask, url: str, asked: str) -> None:
        """As the client asks, or the app says."""
        headers = {"Accept-Encoding": asked}
        response = app.test_client().get(url, headers=headers)
        assert "Content-Encoding" not in response.headers
        assert response.data.startswith(b":")

    def test_many_events_that_look_alike_take_little(self, app: Flask) -> None:
        """Each refers to the ones before."""
        client = app.test_client()
        compressed = client.get("/answer", headers=GZIP).data
        assert len(compressed) < len(client.get("/answer").data) / 2

    def test_closing_it_closes_what_it_is_made_of(self, app: Flask) -> None:
        """Once, and whatever the app hung onto the response is run."""
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
