"""The documentation's pages, with the real packages, in a real browser."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.foreign_clients.conftest import TEXT, OpenPage, Site
from tests.foreign_clients.site import PAGES
from tests.kit.reader import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

each_page = pytest.mark.parametrize("name", PAGES)


def add(page: "Page", *texts: str) -> None:
    """Add notes as the user of the page."""
    for text in texts:
        added = page.evaluate(
            "text => fetch('', {method: 'POST', body: new URLSearchParams({text})})"
            ".then(response => response.status)",
            text,
        )
        assert added == 204


def notes(page: "Page") -> list[str]:
    return page.locator("#notes li").all_text_contents()


def wait_for_note(page: "Page", text: str) -> None:
    page.locator("#notes li", has_text=text).last.wait_for()


def beside(page: "Page", condition: Callable[[], object]) -> Callable[[], object]:
    """Return the condition; each check of it lets the page handle its routes first."""

    def look() -> object:
        page.wait_for_timeout(1)
        return condition()

    return look


@each_page
def test_a_page_shows_published_notes(
    name: str, site: Site, open_page: OpenPage
) -> None:
    """Lines and special characters are shown as text, not as markup."""
    page = open_page(name)
    add(page, TEXT, "end")
    wait_for_note(page, "end")
    assert notes(page) == [TEXT, "end"]


@each_page
def test_a_page_resumes_after_a_drop_and_misses_nothing(
    name: str, site: Site, open_page: OpenPage
) -> None:
    """The page resumes from its last event id: each event is shown once, in order."""
    # The browser client sends the page's cursor as a header; others have it in the URL.
    first = site.cursor() if name == "alpine" else None
    page = open_page(name)
    site.connected()
    add(page, "one")
    wait_for_note(page, "one")
    last_id = site.cursor()
    site.drop()
    add(page, "two", "three")
    wait_for_note(page, "three")
    add(page, "four")
    wait_for_note(page, "four")
    assert notes(page) == ["one", "two", "three", "four"]
    assert site.asked("header") == [first, last_id]


@each_page
def test_nothing_is_missed_before_the_stream_is_open(
    name: str, open_page: OpenPage
) -> None:
    """The stream begins at the cursor of the page's state, not at the connection."""
    held: list[Route] = []
    page = open_page(name, lambda route: held.append(route))
    add(page, "one")
    wait_until(beside(page, lambda: held))
    held[0].continue_()
    wait_for_note(page, "one")
    add(page, "two")
    wait_for_note(page, "two")
    assert notes(page) == ["one", "two"]


@pytest.mark.parametrize("name", ["htmx", "htmx4", "datastar"])
def test_a_page_resumes_after_a_refusal_and_misses_nothing(
    name: str, site: Site, open_page: OpenPage
) -> None:
    """A proxy answers 502 while the app starts, which ends a native EventSource."""
    page = open_page(name)
    site.connected()
    add(page, "one")
    wait_for_note(page, "one")
    last_id = site.cursor()
    site.refuse_next(502)
    site.drop()
    add(page, "two", "three")
    wait_for_note(page, "three")
    assert notes(page) == ["one", "two", "three"]
    # htmx 2 opens a new EventSource, which can carry the id only in the URL.
    assert site.asked("query" if name == "htmx" else "header")[2] == last_id


@pytest.mark.parametrize("status", [401, 502])
def test_a_final_refusal_of_turbos_stream_can_be_seen(
    status: int, site: Site, open_page: OpenPage
) -> None:
    """Turbo opens no other stream by itself; its readyState tells the page."""
    page = open_page("turbo")
    site.connected()
    site.refuse_next(status)
    site.drop()
    page.wait_for_function(
        "document.querySelector('turbo-stream-source').streamSource.readyState"
        " === EventSource.CLOSED"
    )


def test_turbo_misses_nothing_between_two_pages(
    site: Site, open_page: OpenPage
) -> None:
    """The stream of the new page begins at the new page's cursor."""
    page = open_page("turbo")
    add(page, "one")
    wait_for_note(page, "one")
    page.evaluate("Turbo.visit('?second')")
    page.wait_for_url("**?second")
    add(page, "two")
    wait_for_note(page, "two")
    assert notes(page) == ["one", "two"]
    assert len(set(site.asked("query"))) == 2


def test_turbo_shows_each_note_once_in_a_page_of_its_cache(
    open_page: OpenPage,
) -> None:
    """The stream repeats notes that the cached page shows, and brings missed ones."""
    page = open_page("turbo")
    add(page, "one")
    wait_for_note(page, "one")
    page.evaluate("Turbo.visit('?second')")
    page.wait_for_url("**?second")
    add(page, "two")
    wait_for_note(page, "two")
    page.go_back()
    page.wait_for_url("**/notes")
    add(page, "three")
    wait_for_note(page, "three")
    assert notes(page) == ["one", "two", "three"]


def test_turbo_takes_events_without_a_type_for_html(
    site: Site, open_page: OpenPage
) -> None:
    """The how-to page therefore gives types to all other events."""
    page = open_page("turbo")
    site.publish("not meant for", user="alice", type="other")
    site.publish("some words", user="alice")
    page.get_by_text("some words").wait_for()
    assert page.get_by_text("not meant for").count() == 0


def test_datastar_patches_signals(open_page: OpenPage) -> None:
    """One stream patches signals beside elements."""
    page = open_page("datastar")
    add(page, "one", "two")
    page.locator("#count", has_text="2").wait_for()


def test_datastar_asks_for_a_login_after_a_logout(
    site: Site, open_page: OpenPage
) -> None:
    """The page is loaded again, and the app asks for the login there."""
    page = open_page("datastar")
    site.connected()
    page.evaluate("fetch('/logout', {method: 'POST'})")
    page.get_by_text("log in first").wait_for()


@pytest.mark.parametrize("name", ["htmx", "htmx4"])
def test_htmx_goes_on_trying_after_a_logout(
    name: str, site: Site, open_page: OpenPage
) -> None:
    """The page tries less and less often, and receives an error event."""
    page = open_page(name)
    site.connected()
    page.evaluate("fetch('/logout', {method: 'POST'})")
    wait_until(lambda: len(site.asked("query")) >= 3)


@each_page
def test_a_reset_refreshes_the_marked_parts(
    name: str, site: Site, open_page: OpenPage
) -> None:
    """The parts show the missed notes. The stream goes on, and resumes later."""
    held: list[Route] = []

    def hold_first(route: "Route") -> None:
        if held:
            route.continue_()
        held.append(route)

    page = open_page(name, hold_first)
    page.evaluate("Math.random = () => 0, window.isFirst = true")
    add(page, "one")
    wait_until(beside(page, lambda: held))
    url = re.sub("last_event_id=[^&]*", "last_event_id=nonsense", held[0].request.url)
    # The browser client sends the page's cursor as a header; others have it in the URL.
    headers = held[0].request.headers
    if name == "alpine":
        headers["last-event-id"] = "nonsense"
    held[0].continue_(url=url, headers=headers)
    wait_for_note(page, "one")
    if name == "datastar":
        page.locator("#count", has_text="1").wait_for()
    add(page, "two")
    wait_for_note(page, "two")
    last_id = site.cursor()
    site.drop()
    add(page, "three")
    wait_for_note(page, "three")
    assert notes(page) == ["one", "two", "three"]
    sent = "header" if name == "alpine" else "query"
    assert (site.asked(sent)[0], site.asked("header")[1]) == ("nonsense", last_id)
    assert page.evaluate("isFirst")
