"""The samples as seen by parsers of other authors: npm's and a browser's."""

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.sse_parser import ParsedEvent
from tests.wire.real_parts import absent
from tests.wire.samples import SAMPLES, Sample, each_sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def seen_by_npm() -> dict[str, Any]:
    """The events that eventsource-parser reads from each sample, by sample name."""
    node = shutil.which("node")
    if node is None:
        absent("node", remedy="install Node.js 18 or later")
    if not (HERE.parent / "node_modules" / "eventsource-parser").is_dir():
        absent("eventsource-parser", remedy="run `npm ci` in tests")
    streams = b"\n".join(base64.b64encode(sample.encoded) for sample in SAMPLES)
    process = subprocess.run(
        [node, HERE / "decode.mjs"],
        input=streams,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr.decode()
    names = (sample.name for sample in SAMPLES)
    return dict(zip(names, json.loads(process.stdout), strict=True))


@each_sample
def test_eventsource_parser_sees_the_event(
    sample: Sample, seen_by_npm: dict[str, Any]
) -> None:
    """The parser behind most JavaScript clients sees one event, as it was meant."""
    decoded = seen_by_npm[sample.name]
    assert [ParsedEvent(**event) for event in decoded["events"]] == [sample.seen]
    assert decoded["retries"] == ([] if sample.retry_ms is None else [sample.retry_ms])
    assert decoded["errors"] == []


# The event that ends each stream. Any event that a sample should not have made comes
# before it, so no test has to wait for the absence of an event.
SENTINEL = "end of the sample"

# Collects the events of every stream. Each stream listens to every type of the table,
# so an event of a wrong type is noticed. At the deadline, a stream is closed with its
# events so far, and the tests then fail.
COLLECT = """
async ({count, types, sentinel, deadlineMs}) => {
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


class SampleHandler(BaseHTTPRequestHandler):
    """Serves a blank page, and each sample as a stream of its own."""

    def do_GET(self) -> None:
        """Answer with the sample whose index is in the path."""
        if self.path.startswith("/streams/"):
            sample = SAMPLES[int(self.path.removeprefix("/streams/"))]
            end = f"event: {SENTINEL}\ndata: x\n\n".encode()
            self.answer("text/event-stream", sample.encoded + end)
        else:
            self.answer("text/html", b"<!doctype html>")

    def answer(self, content_type: str, body: bytes) -> None:
        """Send a whole response."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Keep the requests out of the tests' output."""


@contextmanager
def serving_samples() -> Iterator[str]:
    """Serve the samples and yield their origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SampleHandler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def seen_by_chromium(chromium: "Browser") -> dict[str, list[ParsedEvent]]:
    """The events that Chromium's EventSource reads from each sample, by sample name."""
    with serving_samples() as origin:
        page = chromium.new_page()
        page.goto(origin)
        streams = page.evaluate(
            COLLECT,
            {
                "count": len(SAMPLES),
                "types": sorted({"message", *(s.seen.type for s in SAMPLES)}),
                "sentinel": SENTINEL,
                "deadlineMs": 30_000,
            },
        )
        page.close()
    return {
        sample.name: [ParsedEvent(**event) for event in events]
        for sample, events in zip(SAMPLES, streams, strict=True)
    }


@pytest.mark.browser
@each_sample
def test_browser_sees_the_event(
    sample: Sample, seen_by_chromium: dict[str, list[ParsedEvent]]
) -> None:
    """A browser's own EventSource sees one event, as it was meant."""
    assert seen_by_chromium[sample.name] == [sample.seen]
