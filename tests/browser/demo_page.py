"""Helpers for the demo page: read what it shows, and press its buttons."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def expect(page: "Page", selector: str, text: str) -> None:
    """Wait until an element has a text."""
    page.locator(selector, has_text=text).first.wait_for()


def connected(page: "Page") -> "Page":
    """Return the page once its stream is open."""
    page.locator("#state[data-state=open]").wait_for()
    return page


def another_tab(page: "Page", path: str = "/sse-demo") -> "Page":
    """Open a page in the same browser."""
    tab = page.context.new_page()
    tab.goto(page.url.replace("/sse-demo", path))
    return tab


def received(page: "Page", type: str) -> list[str]:
    """Return the texts of the events of a type, oldest first."""
    shown = page.locator(f"#log li[data-type={type}] .data").all_text_contents()
    return [json.loads(data)["text"] for data in reversed(shown)]


def wait_for_event(page: "Page", type: str, text: str) -> None:
    """Wait until an event is in the log."""
    page.locator(f"#log li[data-type={type}]", has_text=text).first.wait_for()


def publish(page: "Page", button: str, text: str) -> None:
    """Publish a text with one of the buttons."""
    page.fill("#text", text)
    page.click(button)
    expect(page, "#status", "Published as")
