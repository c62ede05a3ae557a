"""The pages of the example app, independent of the events that are streamed."""

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import OpenPage, SignIn
from tests.browser.demo_page import (
    another_tab,
    connected,
    expect,
    publish,
    wait_for_event,
)
from tests.documented.samples import sample

if TYPE_CHECKING:
    from playwright.sync_api import Response, Route

_MARKED = sample("docs/browser.md", "html", with_="refreshFragments")

# The kind of delivery does not matter to these tests.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("demo", ["auto"], ids=["socket"], indirect=True),
]

# Waits for the stream of a page without a badge. A module is loaded only once, so this
# import returns the page's own stream.
_OPENED = """async () => {
  const { stream } = await import("/static/js/page.js");
  if (stream.state === "open") return;
  await new Promise((resolve) => {
    stream.onState(() => stream.state === "open" && resolve());
  });
}"""


@pytest.mark.parametrize("path", ["/", "/sse-demo", "/dashboard", "/chat", "/import"])
def test_a_notification_is_a_toast_on_every_page(sign_in: SignIn, path: str) -> None:
    """It is shown once, and disappears when it is dismissed."""
    page = sign_in("alice", path)
    page.evaluate(_OPENED)
    page.evaluate("fetch('/trigger', {method: 'POST'})")
    expect(page, "#toasts .toast", "You asked for this notification.")
    assert page.locator(".toast").count() == 1
    page.click(".toast .dismiss")
    assert page.locator(".toast").count() == 0


def test_the_charts_are_drawn_in_the_colours_of_the_scheme(sign_in: SignIn) -> None:
    """They follow a change of the scheme, and are as wide as their card."""
    page = sign_in("alice", "/dashboard")
    connected(page)
    for theme in ("light", "dark"):
        page.check(f"#theme input[value={theme}]", force=True)
        for name in ("cpu", "memory", "events", "connections"):
            page.wait_for_function(_DRAWN, arg=name)
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_function(
        "() => document.querySelector('.plot canvas').clientWidth <= 360"
        " && document.querySelector('.plot canvas').clientWidth > 300"
    )


# Returns whether a chart has a pixel in the colour of its line.
_DRAWN = """(name) => {
  const canvas = document.querySelector(`[data-chart=${name}] canvas`);
  const colour = getComputedStyle(document.documentElement)
    .getPropertyValue("--series-1").match(/\\d+/g).map(Number);
  const { data } = canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < data.length; at += 4)
    if (data[at + 3] === 255 && colour.every((part, i) => data[at + i] === part))
      return true;
  return false;
}"""


def test_the_dashboard_has_its_figures_as_a_table(sign_in: SignIn) -> None:
    """The newest row is first, and an open table grows."""
    page = sign_in("alice", "/dashboard")
    page.click("#table summary")
    page.locator("#table tbody tr").nth(1).wait_for()
    times = page.locator("#table tbody th").all_text_contents()
    assert times == sorted(times, reverse=True)


def test_the_scheme_is_kept_and_applied_before_the_page(sign_in: SignIn) -> None:
    """A page never shows the other scheme first, and other tabs follow at once."""
    page = connected(sign_in("alice", scheme="light"))
    tab = another_tab(page)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.check("#theme input[value=dark]", force=True)
    dark = page.evaluate(ground)
    assert dark != light
    tab.wait_for_function(f"dark => {ground} === dark", arg=dark)
    tab.add_init_script(
        """new MutationObserver(() => {
          if (document.body) window.first ??= document.documentElement.dataset.theme;
        }).observe(document, { childList: true, subtree: true });"""
    )
    tab.reload()
    assert tab.evaluate("window.first") == "dark"
    assert tab.evaluate(ground) == dark
    tab.check("#theme input[value=auto]", force=True)
    page.wait_for_function(f"light => {ground} === light", arg=light)


def test_only_the_pages_own_inline_script_runs(
    open_page: OpenPage, sign_in: SignIn
) -> None:
    """Each answer has a new nonce, and answers without a script have none."""
    page = sign_in("alice")
    nonces = set()
    for _ in range(2):
        response = page.reload()
        assert response is not None
        (nonce,) = re.findall("'nonce-(.+?)'", _policy_of(response))
        assert page.locator("script[type=importmap]").evaluate("e => e.nonce") == nonce
        nonces.add(nonce)
    assert len(nonces) == 2
    for path in ("/login", "/health", "/static/style.css"):
        response = open_page("/").goto(page.url.replace("/sse-demo", path))
        assert response is not None
        assert "script-src 'self';" in _policy_of(response)


def _policy_of(response: "Response") -> str:
    return response.headers["content-security-policy"]


def test_a_reset_refreshes_the_marked_parts_of_a_page(sign_in: SignIn) -> None:
    """The rest of the page stays, and so do its elements and their listeners."""
    page = sign_in("alice")
    page.add_init_script("Math.random = () => 0")
    loads: list[str] = []

    def notes(route: "Route") -> None:
        loads.append(route.request.url)
        text = re.sub("{%.+?%}", "", _MARKED)
        text = text.replace("{{ note }}", f"note {len(loads)}")
        text = text.replace("{{ unread }}", f"unread {len(loads)}")
        route.fulfill(content_type="text/html", body=text.replace(*_SCRIPT))

    reset = 'retry: 60000\n\nevent: reset\ndata: {"reason": "expired"}\n\n'
    page.route(re.compile("/notes"), notes)
    page.route(
        re.compile("/events$"),
        lambda route: route.fulfill(content_type="text/event-stream", body=reset),
    )
    page.goto(page.url.replace("/sse-demo", "/notes"))
    page.wait_for_function(
        "() => ['notes', 'unread'].every((id) =>"
        " /[23]/.test(document.getElementById(id).textContent))"
    )
    assert [each.rpartition("/")[2] for each in sorted(loads)] == [
        "notes",
        "notes",
        "unread",
    ]


_IMPORTS = """{"imports": {
  "sse-hub": "/events/sse-hub.js",
  "sse-hub/refresh": "/events/sse-hub-refresh.js"
}}"""
_SCRIPT = (
    "{{ sse_hub.script() }}",
    f'<script type="importmap">{_IMPORTS}</script>',
)


def test_data_is_shown_as_text(sign_in: SignIn) -> None:
    """Typed text does not become markup of the page."""
    page = connected(sign_in("alice"))
    publish(page, "#to-everyone", "<img src=x onerror=alert(1)>")
    wait_for_event(page, "message", "<img")
    assert page.locator("#log img").count() == 0


def test_all_writing_systems_are_shown_as_typed(sign_in: SignIn) -> None:
    """The page does not show the escapes that the wire has."""
    page = connected(sign_in("alice"))
    publish(page, "#to-everyone", "שלום 🎉")
    wait_for_event(page, "message", "שלום 🎉")


def test_four_long_toasts_fit_on_a_phone(sign_in: SignIn) -> None:
    """Each toast has the longest text that can be published."""
    page = connected(sign_in("alice", width=360))
    for number in range(4):
        publish(page, "#to-me", f"{number}" + "x" * 499)
        expect(page, ".toast", f"alice: {number}x")
    top = page.locator(".toast").first.bounding_box()
    assert top is not None
    assert top["y"] >= 0


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("edge", ["start", "center", "end"])
def test_toasts_do_not_cover_the_newest_row(
    sign_in: SignIn, width: int, edge: str
) -> None:
    """The visitor sees where the event came in, wherever the page is scrolled to."""
    page = connected(sign_in("alice", width=width))
    for number in range(4):
        page.locator("#log li").first.evaluate(_SCROLL, edge)
        page.evaluate(_NOTIFY, f"{number} {'x ' * 90}")
        wait_for_event(page, "notification", f"{number} x")
        expect(page, ".toast", f"{number} x")
        assert page.evaluate(_COVERED) == []
    page.locator("#log li").first.evaluate(_SCROLL, edge)
    page.wait_for_function(f"() => {_COVERED}.length === 0")
    assert page.locator(".toast:visible").count() > 0


_SCROLL = "(row, block) => row.scrollIntoView({ block, behavior: 'instant' })"

_NOTIFY = """(text) => fetch("/trigger", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ type: "notification", data: { text } }),
})"""

_COVERED = """[...document.querySelectorAll(".toast")].filter((toast) => {
  const row = document.querySelector("#log li").getBoundingClientRect();
  const { top, bottom, height } = toast.getBoundingClientRect();
  return height > 0 && top < row.bottom && bottom > row.top;
})"""


def test_a_toast_stays_while_the_page_is_hidden(sign_in: SignIn) -> None:
    """A user who returns to the tab sees the notifications that came meanwhile."""
    page = connected(sign_in("alice"))
    page.clock.install()
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {configurable: true, value: true})"
    )
    page.click("#to-me")
    expect(page, ".toast", "alice")
    page.clock.run_for(60_000)
    assert page.locator(".toast").count() == 1
    page.evaluate("delete document.hidden")
    page.clock.run_for(10_000)
    assert page.locator(".toast").count() == 0


def test_the_session_notice_is_visible_on_a_scrolled_page(
    sign_in: SignIn,
) -> None:
    """It stays at the top of the window."""
    page = connected(sign_in("alice"))
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.evaluate("fetch('/logout', {method: 'POST'})")
    expect(page, "#session", "signed out")
    assert page.locator("#session a").evaluate(
        """(link) => {
          const { left, top } = link.getBoundingClientRect();
          return document.elementFromPoint(left + 2, top + 2) === link;
        }"""
    )


@pytest.mark.parametrize("path", ["/", "/sse-demo", "/dashboard", "/chat", "/import"])
def test_a_page_fits_on_a_phone(sign_in: SignIn, path: str) -> None:
    """No element is wider than the screen, and the bar has two lines."""
    page = sign_in("alice", path, width=320)
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    brand, out = (page.locator(each).bounding_box() for each in (".brand", "#sign-out"))
    assert brand is not None
    assert out is not None
    assert out["y"] < brand["y"] + brand["height"]


@pytest.mark.parametrize("path", ["/", "/sse-demo", "/dashboard", "/chat", "/import"])
def test_double_sized_letters_fit_on_a_phone(sign_in: SignIn, path: str) -> None:
    """Users can set this size in their browsers."""
    page = sign_in("alice", path, width=360)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
