"""Pages of other origins, in a browser that guards them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.live.server import DELIVERIES, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

# A page of localhost, and the stream of 127.0.0.1: to a browser two sites.
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
    """With no cookie and no header of the page's own."""
    page.goto(f"http://localhost:{server.port}/events/health/live")
    found = page.evaluate(_OPEN, _url(server, _ticket(server)))
    assert (found["user_id"], found["channels"]) == ("alice", ["orders"])


def test_a_ticket_that_is_not_good_ends_it_for_good(
    server: Server, page: "Page"
) -> None:
    """The page learns of it, and does not try for ever."""
    page.goto(f"http://localhost:{server.port}/events/health/live")
    assert page.evaluate(_OPEN, _url(server, "forged")) == "refused for good"


def test_an_origin_that_is_not_named_opens_none(page: "Page") -> None:
    """Not even with a ticket."""
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
