"""Parsers of other authors, each behind one function from streams to events.

Where a driver can cut the bytes, a parser reads each stream twice: in one piece, and in
small pieces. Clients that read over HTTP get an event after each stream, and are closed
when it arrives. No driver waits for the absence of an event.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import httpx_sse
import requests_sse
import sseclient
from aiohttp_sse_client.client import EventSource
from openai._streaming import SSEDecoder

from flask_sse_hub import testing
from tests.kit.sse_parser import ParsedEvent
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent
MODULES = HERE.parent / "node_modules"

#: An event as a parser sees it, with the fields that the parser tells: type, data, id.
Seen = dict[str, Any]


class Decoded(NamedTuple):
    """The events, delays and errors that a parser has read from one stream."""

    events: list[Seen]
    retries: list[int]
    errors: list[str]


Decode = Callable[[Sequence[bytes]], list[Decoded]]

# The type of the event that ends each stream over HTTP.
SENTINEL = "end of the sample"
_END = f"event: {SENTINEL}\ndata: x\n\n".encode()

# Streams up to this size are also read byte by byte, longer ones in larger pieces.
_SHORT_BYTES = 4096


# npm's, in Node.js


def in_node(name: str) -> Decode:
    """Return the decoder of a package of npm, driven by ``decode.mjs``."""

    def decode(streams: Sequence[bytes]) -> list[Decoded]:
        sizes = [1 if len(each) <= _SHORT_BYTES else 1021 for each in streams]
        given = [
            *((stream, len(stream)) for stream in streams),
            *zip(streams, sizes, strict=True),
        ]
        decoded = _run_node(name, given)
        whole, in_pieces = decoded[: len(streams)], decoded[len(streams) :]
        assert whole == in_pieces
        return whole

    return decode


def _run_node(name: str, streams: Sequence[tuple[bytes, int]]) -> list[Decoded]:
    node = shutil.which("node")
    if node is None:
        absent("node", remedy="install Node.js 18 or later")
    if not (MODULES / name).is_dir():
        absent(name, remedy="run `npm ci` in tests")
    given = [(base64.b64encode(each).decode(), size) for each, size in streams]
    process = subprocess.run(
        [node, HERE / "decode.mjs", name],
        input=json.dumps(given).encode(),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr.decode()
    return [Decoded(**each) for each in json.loads(process.stdout)]


# Over HTTP


class _Handler(BaseHTTPRequestHandler):
    """Serves a blank page, each stream with its end, and files of npm packages."""

    streams: Sequence[bytes]

    def do_GET(self) -> None:
        """Answer with the stream whose index is in the path, or with a file."""
        path = self.path.partition("?")[0]
        if path.startswith("/streams/"):
            stream = self.streams[int(path.removeprefix("/streams/"))]
            self._answer("text/event-stream", stream + _END)
        elif path.startswith("/modules/"):
            file = MODULES / path.removeprefix("/modules/")
            self._answer("text/javascript", file.read_bytes())
        else:
            self._answer("text/html", b"<!doctype html>")

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Keep the requests out of the tests' output."""


@contextmanager
def _serving(streams: Sequence[bytes]) -> Iterator[str]:
    """Serve streams and yield their origin."""
    handler = type("Handler", (_Handler,), {"streams": streams})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _over_http(read: Callable[[str], list[Seen]]) -> Decode:
    """Return the decoder of a client that reads a URL up to the sentinel."""

    def decode(streams: Sequence[bytes]) -> list[Decoded]:
        with _serving(streams) as origin:
            urls = [f"{origin}/streams/{number}" for number in range(len(streams))]
            return [Decoded(read(url), [], []) for url in urls]

    return decode


# PyPI's


def openai(streams: Sequence[bytes]) -> list[Decoded]:
    """Decode by the decoder of the package openai."""

    def read(stream: bytes, size: int) -> list[Seen]:
        pieces = (stream[at : at + size] for at in range(0, len(stream), size))
        return [
            {"type": sse.event or "message", "data": sse.data, "id": sse.id or ""}
            for sse in SSEDecoder().iter_bytes(pieces)
        ]

    whole = [read(each, len(each)) for each in streams]
    assert whole == [read(each, 7) for each in streams]
    return [Decoded(events, [], []) for events in whole]


def read_with_requests_sse(url: str) -> list[Seen]:
    """Read with requests-sse."""
    seen = []
    with requests_sse.EventSource(url) as source:
        for event in source:
            if event.type == SENTINEL:
                break
            seen.append(_seen(event))
    return seen


def read_with_aiohttp(url: str) -> list[Seen]:
    """Read with aiohttp-sse-client."""

    async def read() -> list[Seen]:
        seen = []
        async with EventSource(url) as source:
            async for event in source:
                if event.type == SENTINEL:
                    break
                seen.append(_seen(event))
        return seen

    return asyncio.run(read())


def _seen(event: Any) -> Seen:
    type = event.type or "message"
    return {"type": type, "data": event.data, "id": event.last_event_id}


# In a browser

# Collects the events of every stream. Each stream listens to every type of the table,
# so an event of a wrong type is noticed. At the deadline, a stream is closed with its
# events so far, and the tests then fail.
_COLLECT = """
async ([{count, types, sentinel, deadlineMs}, prepare]) => {
  const EventSource = await eval(prepare);
  const collect = (index) => new Promise((resolve) => {
    const source = new EventSource(`/streams/${index}`);
    const seen = [];
    const finish = () => { clearTimeout(timer); source.close(); resolve(seen); };
    const timer = setTimeout(finish, deadlineMs);
    const note = ({type, data, lastEventId: id}) => seen.push({type, data, id});
    for (const type of types) source.addEventListener(type, note);
    source.addEventListener(sentinel, finish);
  });
  return Promise.all(Array.from({length: count}, (_, index) => collect(index)));
}
"""

#: The code that returns each class, by the package that it is in. Empty: the browser's
#: own.
_CLASSES = {
    "": "window.EventSource",
    "sse.js": 'import("/modules/sse.js/lib/sse.js").then(({SSE}) => SSE)',
    "event-source-polyfill": (
        'import("/modules/event-source-polyfill/src/eventsource.js")'
        ".then(() => window.EventSourcePolyfill)"
    ),
    "reconnecting-eventsource": (
        'import("/modules/reconnecting-eventsource/build/esm/'
        'reconnecting-eventsource.js").then((module) => module.default)'
    ),
}


def in_browser(
    browser: "Browser", package: str, types: set[str], streams: Sequence[bytes]
) -> list[Decoded]:
    """Decode in a page, by a package of npm, or by the browser's own EventSource."""
    if package and not (MODULES / package).is_dir():
        absent(package, remedy="run `npm ci` in tests")
    asked = {
        "count": len(streams),
        "types": sorted(types),
        "sentinel": SENTINEL,
        "deadlineMs": 30_000,
    }
    with _serving(streams) as origin:
        page = browser.new_page()
        page.goto(origin)
        seen = page.evaluate(_COLLECT, [asked, _CLASSES[package]])
        page.close()
    return [Decoded(events, [], []) for events in seen]


def httpx_sse_(stream: bytes) -> list[Seen]:
    """Decode by httpx-sse, from a response of httpx."""
    response = httpx.Response(
        200,
        headers={"Content-Type": "text/event-stream"},
        stream=httpx.ByteStream(stream),
    )
    return [
        {"type": event.event, "data": event.data, "id": event.id}
        for event in httpx_sse.EventSource(response).iter_sse()
    ]


def sseclient_py(stream: bytes) -> list[Seen]:
    """Decode by sseclient-py."""
    return [
        {"type": event.event, "data": event.data, "id": event.id or ""}
        for event in sseclient.SSEClient(iter([stream])).events()
    ]


def kit(stream: bytes) -> list[Seen]:
    """Decode by the parser of ``flask_sse_hub.testing``."""
    return [
        {"type": event.type, "data": event.data, "id": event.id}
        for event in testing.Parser().feed(stream)
    ]


def _each(read: Callable[[bytes], list[Seen]]) -> Decode:
    """Return the decoder that reads one stream after another."""

    def decode(streams: Sequence[bytes]) -> list[Decoded]:
        return [Decoded(read(stream), [], []) for stream in streams]

    return decode


# The table


def _as_is(event: ParsedEvent) -> ParsedEvent:
    return event


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser of another author, and how it differs from the standard.

    ``decode`` is None for a parser that runs in a browser, from ``package``. ``tells``
    names the fields that it tells of an event. A parser that reads JSON tells text that
    is no JSON as it is, and does not tell ``[DONE]``, the end of an answer. ``sees``
    gives the event that it dispatches in place of another one, for the reasons in
    ``why``.
    """

    name: str
    decode: Decode | None = None
    package: str = ""
    tells: tuple[str, ...] = ("type", "data", "id")
    reads_json: bool = False
    sees: Callable[[ParsedEvent], ParsedEvent] = _as_is
    why: str = ""

    def expected(self, events: Sequence[ParsedEvent]) -> list[Seen]:
        """Return the events as this parser must tell them."""
        return [
            self._expected(event)
            for event in events
            if not (self.reads_json and event.data == "[DONE]")
        ]

    def _expected(self, event: ParsedEvent) -> Seen:
        seen = self.sees(event)
        told = {name: getattr(seen, name) for name in self.tells}
        if self.reads_json:
            with suppress(ValueError):
                told["data"] = json.loads(seen.data)
        return told


def _by_fetch_event_source(event: ParsedEvent) -> ParsedEvent:
    lines = [line.removeprefix("\ufeff") for line in event.data.split("\n")]
    data = "\n".join(lines).lstrip("\n")
    return ParsedEvent(event.type.removeprefix("\ufeff"), data, event.id)


# The characters that trim() of JavaScript removes, as far as the samples have them.
_TRIMMED = " \t\n\x0b\x0c\r\u2028\u2029\ufeff"


def _by_event_source_plus(event: ParsedEvent) -> ParsedEvent:
    last = event.data.rpartition("\n")[2]
    given = (event.type, last, event.id)
    type, data, last_id = (text.strip(_TRIMMED) for text in given)
    return ParsedEvent(type or "message", data, last_id)


def _without_spaces(event: ParsedEvent) -> ParsedEvent:
    data = "\n".join(line.lstrip(" ") for line in event.data.split("\n")).rstrip("\n")
    return ParsedEvent(event.type.lstrip(" ") or "message", data, event.id.lstrip(" "))


_DROPS_SPACES = (
    "drops all spaces at the start of a value, not only one, and the line ends at the"
    " end of the data"
)

PARSERS = (
    Parser("eventsource-parser", in_node("eventsource-parser")),
    Parser("eventsource-client", in_node("eventsource-client")),
    Parser(
        "@microsoft/fetch-event-source",
        in_node("@microsoft/fetch-event-source"),
        sees=_by_fetch_event_source,
        why="drops empty lines at the start of the data, and decodes each value by"
        " itself, which takes a byte order mark from it; dispatches at each blank line",
    ),
    Parser(
        "event-source-plus",
        in_node("event-source-plus"),
        sees=_by_event_source_plus,
        why="keeps only the last line of the data, and trims each value",
    ),
    Parser("openai (Node.js)", in_node("openai"), tells=("type", "data")),
    Parser("ai", in_node("ai"), tells=("data",), reads_json=True),
    Parser(
        "@ai-sdk/openai-compatible",
        in_node("@ai-sdk/openai-compatible"),
        tells=("data",),
        reads_json=True,
    ),
    Parser("openai (Python)", openai),
    Parser("flask_sse_hub.testing", _each(kit)),
    Parser("httpx-sse", _each(httpx_sse_)),
    Parser("sseclient-py", _each(sseclient_py)),
    Parser(
        "requests-sse",
        _over_http(read_with_requests_sse),
        sees=_without_spaces,
        why=_DROPS_SPACES,
    ),
    Parser(
        "aiohttp-sse-client",
        _over_http(read_with_aiohttp),
        sees=_without_spaces,
        why=_DROPS_SPACES,
    ),
    Parser("Chromium"),
    Parser("sse.js", package="sse.js"),
    Parser("event-source-polyfill", package="event-source-polyfill"),
    Parser("reconnecting-eventsource", package="reconnecting-eventsource"),
)
