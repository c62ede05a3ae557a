"""``flask sse mock``, as a page on a front end's own server sees it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from flask_sse_hub import SSEHub
from flask_sse_hub.mock.server import make_mock_server
from tests.kit.reader import DEADLINE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

SCRIPT: list[dict[str, Any]] = [
    {"retry": 0.05},
    {"data": "before", "type": "note", "id": "1"},
    {"drop": True},
    {"data": "after", "type": "note", "id": "2"},
    {"status": 503, "retry_after": 0},
    {"data": {"reason": "expired"}, "type": "reset", "id": "3"},
    {"status": 401},
]

# Returns the received data and each time that the stream opened, until it is closed.
_NATIVE = """(url) => new Promise((resolve) => {
  const heard = [];
  const source = new EventSource(url);
  source.onopen = () => heard.push("open");
  source.addEventListener("note", (event) => heard.push(event.data));
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) resolve(heard);
  };
})"""

_OURS = """async (url) => {
  const { connect } = await import("/client/sse-hub.js");
  const heard = [];
  const stream = connect(url);
  stream.on("note", (data) => heard.push(data));
  stream.on("reset", (data) => heard.push(data.reason));
  await new Promise((resolve) => {
    stream.onState(() => stream.state === "closed" && resolve());
  });
  return [...heard, stream.error.reason];
}"""


@contextmanager
def serving(server: Any) -> Iterator[int]:
    """Run a server until the block ends; yield its port."""
    thread = threading.Thread(target=partial(server.serve_forever, 0.01))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(DEADLINE)
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """A file server that does not log."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A front end's own server, with the client that ``flask sse client`` wrote."""
    folder = tmp_path_factory.mktemp("front_end")
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    app = Flask("app")
    SSEHub(app)
    written = app.test_cli_runner().invoke(args=["sse", "client", f"{folder}/client"])
    assert written.exit_code == 0
    handler = partial(Quiet, directory=str(folder))
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield port


@pytest.fixture
def page(chromium: "Browser", front_end: int) -> Iterator["Page"]:
    """A page on ``localhost``, so the mock is another site for the browser."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"http://localhost:{front_end}/")
    yield page
    context.close()


@pytest.fixture
def url() -> Iterator[str]:
    text = "\n".join(map(json.dumps, SCRIPT))
    with serving(make_mock_server(text, port=0, loop=False)) as port:
        yield f"http://127.0.0.1:{port}/events"


def test_a_native_event_source_resumes_and_ends(page: "Page", url: str) -> None:
    """It resumes after a drop with its id, and ends after an error status."""
    assert page.evaluate(_NATIVE, url) == ["open", "before", "open", "after"]


def test_our_client_reconnects_until_it_is_refused(page: "Page", url: str) -> None:
    """It reconnects after a drop and a 503, receives a reset, and ends after a 401."""
    heard = ["before", "after", "expired", "unauthorized"]
    assert page.evaluate(_OURS, url) == heard
