"""Streams for pages of other origins, in a browser that enforces CORS."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.live.server import DELIVERIES, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

# The page is on localhost and the stream on 127.0.0.1: two sites for a browser.
_OPEN = """(url) => new Promise((resolve) => {
  const source = new EventSource(url);
  source.addEventListener("connected", (event) => {
    source.close();
    resolve(JSON.parse(event.data));
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) resolve("refused for good");
  };
})"""


@pytest.fixture(params=DELIVERIES, scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param, cors_origins=["http://localhost:{port}"]) as server:
        yield server


@pytest.fixture
def page(chromium: "Browser") -> Iterator["Page"]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def test_a_ticket_opens_a_stream_of_another_origin(
    server: Server, page: "Page"
) -> None:
    """It needs no cookie and no header."""
    page.goto(f"http://localhost:{server.port}/events/health/live")
    found = page.evaluate(_OPEN, _url(server, _ticket(server)))
    assert (found["user_id"], found["channels"]) == ("alice", ["orders"])


def test_a_bad_ticket_closes_the_stream(server: Server, page: "Page") -> None:
    """The page is notified, and the browser does not retry for ever."""
    page.goto(f"http://localhost:{server.port}/events/health/live")
    assert page.evaluate(_OPEN, _url(server, "forged")) == "refused for good"


def test_an_origin_that_is_not_configured_is_refused(page: "Page") -> None:
    """A ticket does not change that."""
    with Server() as server:
        page.goto(f"http://localhost:{server.port}/events/health/live")
        found = page.evaluate(_OPEN, _url(server, _ticket(server)))
        assert found == "refused for good"
        assert server.stats()["opened"] == 0


def _ticket(server: Server) -> str:
    status, body, _ = server.request(
        "POST", "/ticket", body={"user": "alice", "channels": ["orders"]}
    )
    assert status == 200
    return body.decode()


def _url(server: Server, ticket: str) -> str:
    return f"http://127.0.0.1:{server.port}/events?ticket={ticket}"
