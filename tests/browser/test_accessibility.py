"""The example app is accessible by keyboard, screen reader and in high contrast."""

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import ROOT, OpenPage, SignIn
from tests.browser.demo_page import connected
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Page

# A full view of people and answers in the console, with each note and state.
PEOPLE = {
    "stale": True,
    "channels": [{"channel": "room.7", "people": 20, "users": ["alice", "bob"]}],
    "more_channels": 3,
    "answers": [
        {
            "id": state,
            "user": "alice",
            "state": state,
            "begun": 0.0,
            "age": 30.0,
            "reason": state,
            "size": 1000,
            "has_readers": True,
            "progress": {"text": "reading", "done": 1, "total": 2},
        }
        for state in ("running", "done", "failed")
    ],
    "more_answers": 3,
}

AXE = ROOT / "tests/node_modules/axe-core/axe.min.js"

# The kind of delivery does not matter to these tests.
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
    """Return the serious faults that axe finds in a page, in all schemes and widths."""
    page.evaluate(axe)
    found: list[Any] = []
    for scheme, width in product(("light", "dark"), (1280, 360)):
        # During an animation, text may have little contrast.
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 800})
        found += [
            (scheme, width, fault["id"], [node["html"] for node in fault["nodes"]])
            for fault in page.evaluate("axe.run()")["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    return found


class TestFaults:
    """Pages have no serious faults, in light and dark, on a desktop and on a phone."""

    @pytest.mark.parametrize("path", ["/", "/login"])
    def test_public_pages_have_none(
        self, open_page: OpenPage, axe: str, path: str
    ) -> None:
        """These pages need no login."""
        assert faults(open_page(path), axe) == []

    def test_a_refused_login_has_none(self, open_page: OpenPage, axe: str) -> None:
        """The page shows the error."""
        page = open_page("/login")
        page.fill("#name", "alice")
        page.fill("#password", "wrong")
        page.click("#sign-in")
        page.locator("[role=alert]").wait_for()
        assert faults(page, axe) == []

    def test_the_start_page_has_none_after_a_login(
        self, sign_in: SignIn, axe: str
    ) -> None:
        """The page shows its complete bar."""
        assert faults(sign_in("alice", "/"), axe) == []

    def test_the_demo_has_none(self, sign_in: SignIn, axe: str) -> None:
        """The page shows events, a toast, a resume and lost history."""
        page = sign_in("alice")
        page.locator("#state[data-state=open]").wait_for()
        page.click("#cut-burst")
        page.locator("#resumed", has_text="caught up").wait_for()
        page.evaluate("document.querySelector('#reset-banner').hidden = false")
        page.evaluate("document.querySelector('#reset-banner').textContent = 'Lost'")
        page.click("#to-me")
        page.hover(".toast")
        assert faults(page, axe) == []

    def test_the_demo_has_none_after_a_logout(self, sign_in: SignIn, axe: str) -> None:
        """The page shows the notice, and the button to connect again."""
        page = sign_in("alice")
        page.locator("#state[data-state=open]").wait_for()
        page.evaluate("fetch('/logout', {method: 'POST'})")
        page.locator("#session", has_text="signed out").wait_for()
        page.evaluate("document.querySelector('#reconnect').hidden = false")
        assert faults(page, axe) == []

    def test_the_dashboard_has_none(self, sign_in: SignIn, axe: str) -> None:
        """The page shows its charts and the open table."""
        page = sign_in("alice", "/dashboard")
        page.locator("#state[data-state=open]").wait_for()
        page.click("#table summary")
        page.locator("#table tbody tr").first.wait_for()
        assert faults(page, axe) == []

    def test_the_console_has_none(self, sign_in: SignIn, axe: str) -> None:
        """All views are shown at once, with people, an answer and a test event."""
        page = sign_in("admin")
        page.locator("#state[data-state=open]").wait_for()
        page.click("#to-me")
        console = page.context.new_page()
        console.route("**/console/people", lambda route: route.fulfill(json=PEOPLE))
        for view in ("streams", "log", "people", "overview"):
            console.goto(page.url.replace("sse-demo", f"events/console#{view}"))
            console.locator(f"#{view} tbody td").first.wait_for()
        console.click("#test")
        console.locator("#test-result", has_text="arrived").wait_for()
        show_all = "document.querySelectorAll('section').forEach(s => s.hidden = false)"
        console.evaluate(show_all)
        assert faults(console, axe) == []

    def test_the_chat_has_none(self, sign_in: SignIn, axe: str) -> None:
        """The page shows a failed answer with its error, then an answer in progress."""
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
        """The page shows refused rows, and a file that cannot be read to its end."""
        page = sign_in("alice", "/import")
        page.locator("#state[data-state=open]").wait_for()
        content = b"name,email\n" + b"bad\n" * 20 + b"\0"
        file: Any = {"name": "a.csv", "mimeType": "text/csv", "buffer": content}
        page.set_input_files("#file", file)
        page.click("#start")
        page.locator("#problem p").wait_for()
        page.locator("#problems li").first.wait_for()
        assert faults(page, axe) == []


def test_the_first_tab_stop_skips_to_the_content(sign_in: SignIn) -> None:
    """Keyboard users need not go through the bar on every page."""
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
def test_the_focus_is_visible(sign_in: SignIn, path: str) -> None:
    """Every tab stop has an outline."""
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


def test_the_scheme_can_be_chosen_by_keyboard(sign_in: SignIn) -> None:
    """The arrow keys work as in any radio group."""
    page = sign_in("alice")
    page.focus("#theme input:checked")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_only_short_texts_are_live_regions(sign_in: SignIn) -> None:
    """Toasts, the state and results are live; the log, figures and words are not."""
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


def test_each_chart_has_its_figures_as_text(sign_in: SignIn) -> None:
    """Screen readers skip the drawing, and read its title, values and ranges."""
    page = sign_in("alice", "/dashboard")
    for chart in page.locator("[data-chart]").all():
        chart.locator("canvas").wait_for()
        assert chart.locator(".plot").get_attribute("aria-hidden") == "true"
        assert chart.locator("h2").text_content()
        assert any(char.isdigit() for char in chart.locator(".values").inner_text())
        lines = chart.locator(".value").count()
        ranges = chart.locator(".range").inner_text().split(" · ")
        assert [any(map(str.isdigit, each)) for each in ranges] == [True] * lines


def test_reduced_motion_turns_transitions_off(open_page: OpenPage) -> None:
    """The page obeys the setting of the user's system."""
    page = open_page("/login")
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(
        "getComputedStyle(document.querySelector('button')).transitionDuration"
    ) in ("0s", "")


def test_a_toast_has_a_border_in_forced_colours(sign_in: SignIn) -> None:
    """Its background is then the same as the page's."""
    page = connected(sign_in("alice"))
    page.emulate_media(forced_colors="active")
    page.click("#to-me")
    assert page.locator(".toast").evaluate(
        "e => getComputedStyle(e).borderTopStyle"
    ) == ("solid")


def test_a_refused_login_is_read_out_with_the_field_to_correct(
    open_page: OpenPage,
) -> None:
    """Screen readers do not read an alert that is in the page when it loads."""
    page = open_page("/login")
    page.fill("#name", "alice")
    page.fill("#password", "wrong")
    page.click("#sign-in")
    field = page.locator("#password:focus")
    field.wait_for()
    described = field.get_attribute("aria-describedby")
    assert page.locator(f"#{described}").inner_text().startswith("The name or the")
