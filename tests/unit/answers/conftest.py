"""A site with one answer, and readers of its stream."""

import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from flask import Flask, Response

from flask_sse_hub import EventSourceResponse
from flask_sse_hub.answers.body import AnswerBody
from flask_sse_hub.answers.producer import Producer
from tests.kit.reader import EndOfStream, StreamReader


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


def producer_of(body: AnswerBody) -> Producer:
    """Return the producer that feeds a body."""
    source = body._source
    assert isinstance(source, Producer)
    return source
