"""The example app for who uses a keyboard, a screen reader, or little contrast."""

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import ROOT, OpenPage, SignIn
from tests.browser.demo_page import connected
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = ROOT / "tests/node_modules/axe-core/axe.min.js"

# It does not matter to these how the streams are delivered.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("demo", ["auto"], ids=["socket"], indirect=True),
]


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        absent("axe-core", remedy=f"run npm ci in {AXE.parents[2]}")
    return AXE.read_text()


def faults(page: "Page", axe: str) -> list[Any]:
    """Return the serious faults that axe finds in a page, however it is looked at."""
    page.evaluate(axe)
    found: list[Any] = []
    for scheme, width in product(("light", "dark"), (1280, 360)):
        # In the middle of an animation everything has little contrast.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 800})
        found += [
            (scheme, width, fault["id"], [node["html"] for node in fault["nodes"]])
            for fault in page.evaluate("axe.run()")["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    return found


class TestFaults:
    """In light and dark, on a desk and on a phone."""

    @pytest.mark.parametrize("path", ["/", "/login"])
    def test_strangers_find_none(
        self, open_page: OpenPage, axe: str, path: str
    ) -> None:
        """On the pages that nobody needs a login for."""
        assert faults(open_page(path), axe) == []

    def test_a_refused_login_has_none(self, open_page: OpenPage, axe: str) -> None:
        """With the error in it."""
        page = open_page("/login")
        page.fill("#name", "alice")
        page.fill("#password", "wrong")
        page.click("#sign-in")
        page.locator("[role=alert]").wait_for()
        assert faults(page, axe) == []

    def test_the_start_has_none_for_who_is_signed_in(
        self, sign_in: SignIn, axe: str
    ) -> None:
        """With all of its bar."""
        assert faults(sign_in("alice", "/"), axe) == []

    def test_the_demo_has_none(self, sign_in: SignIn, axe: str) -> None:
        """Full of what can be on it: events, a toast, a resume, a loss."""
        page = sign_in("alice")
        page.locator("#state[data-state=open]").wait_for()
        page.click("#cut-burst")
        page.locator("#resumed", has_text="caught up").wait_for()
        page.evaluate("document.querySelector('#reset-banner').hidden = false")
        page.evaluate("document.querySelector('#reset-banner').textContent = 'Lost'")
        page.click("#to-me")
        page.hover(".toast")
        assert faults(page, axe) == []

    def test_the_demo_has_none_when_it_is_over(self, sign_in: SignIn, axe: str) -> None:
        """With the notice, and the button to connect again."""
        page = sign_in("alice")
        page.locator("#state[data-state=open]").wait_for()
        page.evaluate("fetch('/logout', {method: 'POST'})")
        page.locator("#session", has_text="signed out").wait_for()
        page.evaluate("document.querySelector('#reconnect').hidden = false")
        assert faults(page, axe) == []

    def test_the_dashboard_has_none(self, sign_in: SignIn, axe: str) -> None:
        """With its charts, and the table opened."""
        page = sign_in("alice", "/dashboard")
        page.locator("#state[data-state=open]").wait_for()
        page.click("#table summary")
        page.locator("#table tbody tr").first.wait_for()
        assert faults(page, axe) == []

    def test_the_chat_has_none(self, sign_in: SignIn, axe: str) -> None:
        """With an answer that failed, how it is told, and one that is on its way."""
        page = sign_in("alice", "/chat")
        page.locator("#state[data-state=open]").wait_for()
        page.fill("#message", "Please fail")
        page.keyboard.press("Enter")
        page.locator("#problem code").wait_for()
        assert faults(page, axe) == []
        page.route("**/api/chat/stream", lambda route: None)
        page.click("#problem button")
        page.locator("#stop").wait_for()
        assert faults(page, axe) == []

    def test_the_import_has_none(self, sign_in: SignIn, axe: str) -> None:
        """With rows that were refused, and a file that cannot be read on."""
        page = sign_in("alice", "/import")
        page.locator("#state[data-state=open]").wait_for()
        content = b"name,email\n" + b"bad\n" * 20 + b"\0"
        file: Any = {"name": "a.csv", "mimeType": "text/csv", "buffer": content}
        page.set_input_files("#file", file)
        page.click("#start")
        page.locator("#problem p").wait_for()
        page.locator("#problems li").first.wait_for()
        assert faults(page, axe) == []


def test_the_first_stop_skips_to_the_content(sign_in: SignIn) -> None:
    """Who uses a keyboard need not go through the bar on every page."""
    page = sign_in("alice")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate(
        "document.querySelector('#main').contains(document.activeElement)"
    )


@pytest.mark.parametrize("path", ["/", "/sse-demo", "/dashboard", "/chat", "/import"])
def test_one_sees_where_the_focus_is(sign_in: SignIn, path: str) -> None:
    """At every stop from the first to the last."""
    page = sign_in("alice", path)
    stops = 0
    while True:
        page.keyboard.press("Tab")
        focus = page.evaluate(
            """() => {
              const focused = document.activeElement;
              if (focused === document.body) return null;
              const outlined = focused.closest("#theme label") ?? focused;
              return [focused.outerHTML, getComputedStyle(outlined).outlineStyle];
            }"""
        )
        if focus is None:
            break
        assert focus[1] != "none", focus[0]
        stops += 1
    assert stops >= 7


def test_the_scheme_is_chosen_by_keyboard(sign_in: SignIn) -> None:
    """With the arrows, as in any group of choices."""
    page = sign_in("alice")
    page.focus("#theme input:checked")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_what_is_read_out_is_short(sign_in: SignIn) -> None:
    """Toasts, the state and how buttons went; not the log, figures, nor each word."""
    page = sign_in("alice")
    live = "[...document.querySelectorAll('[role=status],[role=alert],[aria-live]')]"
    assert set(page.evaluate(f"{live}.map((element) => element.id)")) == {
        "session",
        "state",
        "reset-banner",
        "sharing",
        "status",
        "cut-status",
        "resumed",
        "toasts",
    }
    for path, more in (
        ("/dashboard", set()),
        ("/chat", {"said", "problem"}),
        ("/import", {"stage", "problem"}),
    ):
        page.goto(page.url.rpartition("/")[0] + path)
        ids = set(page.evaluate(f"{live}.map((element) => element.id)"))
        assert ids == {"session", "state", "toasts"} | more


def test_each_chart_says_in_text_what_it_shows(sign_in: SignIn) -> None:
    """The drawing is hidden from who cannot see it; title, value and range are not."""
    page = sign_in("alice", "/dashboard")
    for chart in page.locator("[data-chart]").all():
        chart.locator("canvas").wait_for()
        assert chart.locator(".plot").get_attribute("aria-hidden") == "true"
        assert chart.locator("h2").text_content()
        assert any(char.isdigit() for char in chart.locator(".values").inner_text())
        lines = chart.locator(".value").count()
        ranges = chart.locator(".range").inner_text().split(" · ")
        assert [any(map(str.isdigit, each)) for each in ranges] == [True] * lines


def test_who_wants_no_motion_gets_none(open_page: OpenPage) -> None:
    """By the setting of their system."""
    page = open_page("/login")
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(
        "getComputedStyle(document.querySelector('button')).transitionDuration"
    ) in ("0s", "")


def test_colours_of_the_system_leave_a_toast_its_edge(sign_in: SignIn) -> None:
    """Its ground is the page's then."""
    page = connected(sign_in("alice"))
    page.emulate_media(forced_colors="active")
    page.click("#to-me")
    assert page.locator(".toast").evaluate(
        "e => getComputedStyle(e).borderTopStyle"
    ) == ("solid")


def test_a_refused_login_is_read_out_with_the_field_to_mend(
    open_page: OpenPage,
) -> None:
    """An alert that is there from the beginning is not read out by itself."""
    page = open_page("/login")
    page.fill("#name", "alice")
    page.fill("#password", "wrong")
    page.click("#sign-in")
    field = page.locator("#password:focus")
    field.wait_for()
    described = field.get_attribute("aria-describedby")
    assert page.locator(f"#{described}").inner_text().startswith("The name or the")
