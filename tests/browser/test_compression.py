"""Compressed streams in a browser, which requests compression by itself."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.ports import HOST
from tests.live.server import DELIVERIES, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

# Large events are compressed, small ones are not.
EVENTS: list[Any] = [
    ["small"],
    [f"order {number}" for number in range(500)],
    "ü" * 70_000,
    [""],
]

_OPEN = """() => {
  window.got = [];
  window.source = new EventSource("/events");
  source.addEventListener("connected", () => { window.connected = true; });
  source.onmessage = (event) => got.push(event.data);
}"""


@pytest.fixture(params=DELIVERIES, scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param, login_required=False) as server:
        yield server


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_each_event_arrives_when_it_is_published(
    server: Server, page: "Page", coding: str
) -> None:
    """A browser decodes a compressed stream as its bytes arrive."""
    page.set_extra_http_headers({"Accept-Encoding": coding})
    codings: list[str | None] = []
    page.on(
        "response",
        lambda response: codings.append(response.headers.get("content-encoding")),
    )
    page.goto(f"http://{HOST}:{server.port}/events/health/live")
    page.evaluate(_OPEN)
    page.wait_for_function("window.connected", polling=20)
    for count, data in enumerate(EVENTS, 1):
        server.publish(data)
        page.wait_for_function(f"got.length === {count}", polling=20)
    found = [
        json.loads(data) if data[0] == "[" else data for data in page.evaluate("got")
    ]
    assert found == EVENTS
    assert codings[-1] == coding
