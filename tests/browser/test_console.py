"""The console in a real browser: each view and each action, on one shared page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.tabs import QUICK
from tests.kit.ports import HOST
from tests.kit.reader import DEADLINE, StreamReader
from tests.live.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

pytestmark = pytest.mark.browser

TOKEN = "of the people on call"

# Names that would run a script in a page that takes them for markup.
HOSTILE = "<img src=x onerror=document.title='hacked'>"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The live site with two workers. Its console is for a token."""
    with Server(args="--workers 2", stats_access=TOKEN, **QUICK) as server:
        yield server


@pytest.fixture(scope="module")
def page(chromium: "Browser", server: Server) -> Iterator["Page"]:
    """The console, opened with the token; no script of it may fail."""
    problems: list[str] = []

    def note(message: "ConsoleMessage") -> None:
        if "Content Security Policy" in message.text:
            problems.append(message.text)

    # A proxy or an extension of the browser adds the header.
    context = chromium.new_context(
        viewport={"width": 360, "height": 800},
        extra_http_headers={"Authorization": f"Bearer {TOKEN}"},
    )
    context.set_default_timeout(DEADLINE * 1000)
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.on("console", note)
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"http://{HOST}:{server.port}/events/console")
    yield page
    assert page.title() == "Console of flask_sse_hub"
    assert not problems
    context.close()


@pytest.fixture
def stream(server: Server) -> Iterator[StreamReader]:
    """A stream of bob."""
    with server.stream("/events?channel=news", user="bob") as stream:
        stream.next("connected")
        yield stream


def show(page: "Page", view: str) -> None:
    """Choose a view by the keyboard, as a person without a mouse does."""
    page.focus(f'nav a[href="#{view}"]')
    page.keyboard.press("Enter")
    page.locator(f"#{view}").wait_for()


def test_nobody_else_reads_the_console(page: "Page", server: Server) -> None:
    """Neither the page nor its files."""
    for path in ("", "/console.js", "/figures"):
        assert server.get(f"/events/console{path}")[0] == 403


def test_the_overview_has_both_workers_and_updates_itself(
    page: "Page", server: Server, stream: StreamReader
) -> None:
    """Charts begin with the second look."""
    page.locator("#state[data-state=good]").wait_for()
    page.locator("#workers tr").nth(1).wait_for()
    page.locator("#health tr", has_text="hearing").wait_for()
    page.locator("#channels tr", has_text="news").wait_for()
    page.locator("figure", has_text="Open streams").locator(
        "strong", has_text="1"
    ).wait_for()
    # No part is wider than a phone.
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_test_event_comes_back_to_the_page(page: "Page") -> None:
    """The page opens a stream with the package's own client."""
    show(page, "overview")
    page.click("#test")
    page.locator("#test-result", has_text="The event arrived after").wait_for()
    assert page.locator("#test").is_enabled()


def test_streams_are_found_and_closed(
    page: "Page", server: Server, stream: StreamReader
) -> None:
    """The row keeps its focus while the page updates itself."""
    show(page, "streams")
    page.fill("#streams-form [name=text]", "bob")
    row = page.locator("#streams-rows tr", has_text="bob")
    row.wait_for()
    button = row.get_by_role("button", name="Close the stream of user bob")
    button.focus()
    with page.expect_response(lambda answer: "/console/streams" in answer.url):
        pass
    page.keyboard.press("Enter")
    page.locator("#action", has_text="is being closed").wait_for()
    stream.wait_for_end()
    row.wait_for(state="detached")
    page.locator("#streams-count", has_text="0 streams").wait_for()


def test_streams_are_sorted_and_turned_over(page: "Page") -> None:
    """The workers sort and cut the list."""
    show(page, "streams")
    with page.expect_request("**/console/streams?*order=lag*"):
        page.select_option("#streams-form [name=order]", "lag")
    page.route(
        "**/console/streams?*",
        lambda route: route.fulfill(
            json={"count": 60, "page": 0, "pages": 2, "silent": [], "streams": []}
        ),
    )
    with page.expect_request("**/console/streams?*page=1*"):
        page.click("#next")
    page.unroute("**/console/streams?*")


def test_the_log_is_followed_and_filtered(page: "Page", server: Server) -> None:
    """Names of other people are text, and the data stays out of the page."""
    show(page, "log")
    server.publish("secret", channel="news", type="story")
    server.publish("secret", user=HOSTILE, type="price")
    page.locator("#log-rows tr", has_text=HOSTILE).wait_for()
    page.locator("#log-rows tr", has_text="story").wait_for()
    assert "secret" not in page.locator("#log").inner_text()
    page.fill("#log-form [name=type]", "pri")
    page.locator("#log-rows tr", has_text="story").wait_for(state="detached")
    assert page.locator("#log-rows tr", has_text=HOSTILE).count() == 1


def test_people_and_answers_are_listed(page: "Page", server: Server) -> None:
    """An answer of the server, and people with any name."""
    body = {"count": 1, "pace": 0, "mark": "a", "keep": 60}
    cookie = server.cookie("bob")
    assert server.request("POST", "/lasting/start", body=body, cookie=cookie)[0] == 200
    show(page, "people")
    page.locator("#answers-rows tr", has_text="bob").wait_for()
    page.locator("#people-note", has_text="No channel").wait_for()
    room = {"channel": "room.7", "people": 2, "users": [HOSTILE]}
    lists = {"channels": [room], "more_channels": 3, "answers": [], "more_answers": 0}
    page.route(
        "**/console/people",
        lambda route: route.fulfill(json={"stale": True, **lists}),
    )
    page.locator("#people-rows tr", has_text=f"{HOSTILE} and more").wait_for()
    page.locator("#people-note", has_text="3 more are not shown").wait_for()
    page.unroute("**/console/people")


def test_a_server_that_is_away_shows(page: "Page") -> None:
    """The page says so, and goes on by itself."""
    show(page, "overview")
    page.route(
        "**/console/figures",
        lambda route: route.fulfill(status=503, json={"error": "it is away"}),
    )
    page.locator("#state", has_text="Not live: it is away").wait_for()
    page.unroute("**/console/figures")
    page.locator("#state", has_text="Live").wait_for()
