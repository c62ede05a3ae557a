"""Whole streams as the package writes them: a hub's, an answer's, and a refusal.

In their second form, comments stand at each place where the package may write one:
before the first block, between any two blocks, and after the last one.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask import Flask, Response

from flask_sse_hub import Event, EventSourceResponse
from flask_sse_hub.answers.protocols import ProtocolName
from flask_sse_hub.events import address
from flask_sse_hub.hub.clients.admission import refusal_stream
from flask_sse_hub.hub.clients.close_reason import CloseReason
from tests.kit.hand import HandHub
from tests.kit.sse_parser import ParsedEvent, parse

COMMENT = b":\n"
NEWS = address.channel("news")


@dataclass(frozen=True)
class Stream:
    """A stream. Its bytes are made once, when they are first needed."""

    name: str
    make: Callable[[], bytes]

    @cached_property
    def encoded(self) -> bytes:
        """All bytes of the stream."""
        return self.make()

    @property
    def seen(self) -> list[ParsedEvent]:
        """The events that a client must see."""
        return parse(self.encoded)


def hub_stream() -> bytes:
    """Return a stream with each kind of block: the hub's own, events, a farewell."""
    hub = HandHub()
    stream, _ = hub.open(last_event_id="malformed", channels=("news",))
    stream.read()
    for text in ("one", '{"number": 2}', "3"):
        hub.publish(text, to=NEWS)
        hub.bring()
        stream.read()
    hub.parts.dispatcher.ping(stream.client)
    stream.read()
    hub.parts.lifecycle.close(stream.client, CloseReason.SHUTDOWN)
    stream.read()
    return stream.raw


def answer_stream() -> bytes:
    """Return the stream of an answer that comes to its end."""
    return _answer(
        iter(["one", Event("two\nlines", type="token", retry=1.5), {"n": 3}])
    )


def openai_stream() -> bytes:
    """Return an answer for the clients of OpenAI's API."""
    return _answer(iter([{"choices": []}]), protocol="openai")


def ai_sdk_stream() -> bytes:
    """Return an answer for the AI SDK."""
    return _answer(iter(["one", "two\nlines"]), protocol="ai-sdk")


def failed_answer_stream() -> bytes:
    """Return the stream of an answer that fails."""

    def items() -> Iterator[str]:
        yield "one"
        raise LookupError("the test has it fail")

    logging.disable()
    try:
        return _answer(items())
    finally:
        logging.disable(logging.NOTSET)


def _answer(items: Iterator[Any], *, protocol: ProtocolName = "events") -> bytes:
    app = Flask(__name__)

    @app.post("/ask")
    def ask() -> Response:
        return EventSourceResponse(items, protocol=protocol)

    stream: bytes = app.test_client().post("/ask").data
    return stream


def with_comments(stream: bytes) -> bytes:
    """Return a stream with comments around each of its blocks."""
    *blocks, rest = stream.split(b"\n\n")
    parts = [*(block + b"\n\n" for block in blocks), rest]
    return COMMENT + COMMENT.join(parts) + COMMENT


_MADE = {
    "hub": hub_stream,
    "answer": answer_stream,
    "openai-answer": openai_stream,
    "ai-sdk-answer": ai_sdk_stream,
    "failed-answer": failed_answer_stream,
    "refusal": refusal_stream,
}

STREAMS = (
    *(Stream(name, make) for name, make in _MADE.items()),
    *(
        Stream(f"{name}-with-comments", lambda make=make: with_comments(make()))  # type: ignore[misc]
        for name, make in _MADE.items()
    ),
)
