"""The example app in a real browser: connect, publish, drop, resume, lose history."""

import hashlib
import hmac
import json
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Demo, SignIn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


def expect(page: "Page", selector: str, text: str) -> None:
    """Wait until an element has a text."""
    page.locator(selector, has_text=text).first.wait_for()


def connected(page: "Page") -> "Page":
    expect(page, "#state", "open")
    page.locator("#log li[data-type=connected]").first.wait_for()
    return page


def received(page: "Page", type: str) -> list[str]:
    """Return the texts of the events of a type, oldest first."""
    shown = page.locator(f"#log li[data-type={type}] .data").all_text_contents()
    return [json.loads(data)["text"] for data in reversed(shown)]


def wait_for_event(page: "Page", type: str, text: str) -> None:
    page.locator(f"#log li[data-type={type}]", has_text=text).first.wait_for()


def publish(page: "Page", button: str, text: str) -> None:
    page.fill("#text", text)
    page.click(button)
    expect(page, "#status", "Published as")


def test_a_button_in_one_tab_is_seen_in_another(sign_in: SignIn) -> None:
    """From a click to an event in somebody else's browser."""
    ann, ben = connected(sign_in("alice")), connected(sign_in("bob"))
    publish(ann, "#to-everyone", "hello all")
    wait_for_event(ann, "message", "hello all")
    wait_for_event(ben, "message", "hello all")


def test_each_button_reaches_whom_it_names(sign_in: SignIn) -> None:
    """One person, one tab, a channel without the sender; nobody else."""
    ann, ben = connected(sign_in("alice")), connected(sign_in("bob"))
    tab = ann.context.new_page()
    tab.goto(ann.url)
    connected(tab)
    publish(ann, "#to-me", "to all my tabs")
    publish(ann, "#to-client", "to this tab")
    ann.select_option("#user", "bob")
    publish(ann, "#to-user", "to bob")
    publish(ann, "#to-lobby", "to the lobby")
    publish(ann, "#to-everyone", "the end")
    for page in (ann, tab, ben):
        wait_for_event(page, "message", "the end")
    assert received(ann, "notification") == ["to all my tabs", "to this tab"]
    assert received(tab, "notification") == ["to all my tabs"]
    assert received(ben, "notification") == ["to bob"]
    assert received(ann, "lobby") == []
    assert received(tab, "lobby") == received(ben, "lobby") == ["to the lobby"]


def test_a_cut_connection_resumes_and_misses_nothing(sign_in: SignIn) -> None:
    """What was published in between is there, once, in order."""
    page = connected(sign_in("alice"))
    for _ in range(3):
        before = len(received(page, "message"))
        page.click("#cut-burst")
        page.wait_for_function(
            "n => document.querySelectorAll('#log li[data-type=message]').length >= n",
            arg=before + 5,
        )
        assert received(page, "message")[before:] == [
            f"{number} of 5" for number in range(1, 6)
        ]
    assert page.locator("#doubled").text_content() == "0"
    assert page.locator("#reset-banner").is_hidden()
    greetings = page.locator("#log li[data-type=connected] .data").all_text_contents()
    assert [json.loads(each)["resumed"] for each in greetings] == [
        True,
        True,
        True,
        False,
    ]


def test_a_quiet_page_sees_pings(sign_in: SignIn) -> None:
    """A script can tell that its stream is alive."""
    page = connected(sign_in("alice"))
    page.locator("#log li[data-type=ping]").first.wait_for()
    assert "-" in (page.locator("#resume-id").text_content() or "")


def test_a_kill_of_all_workers_loses_nothing(sign_in: SignIn, demo: Demo) -> None:
    """Pages on either worker hear each other, before and after it."""
    pages = [connected(sign_in(name)) for name in ("alice", "bob", "alice")]
    publish(pages[0], "#to-everyone", "before the kill")
    for page in pages:
        wait_for_event(page, "message", "before the kill")
    demo.kill_workers()
    for page in pages:
        page.locator("#log li[data-type=connected]").nth(1).wait_for()
    publish(pages[1], "#to-everyone", "after the kill")
    for page in pages:
        wait_for_event(page, "message", "after the kill")
        assert page.locator("#reset-banner").is_hidden()
        assert page.locator("#doubled").text_content() == "0"


def test_lost_history_is_told(sign_in: SignIn, demo: Demo) -> None:
    """The page comes back by itself and says that it loaded its state anew."""
    page = connected(sign_in("alice"))
    publish(page, "#to-me", "before the loss")
    wait_for_event(page, "notification", "before the loss")
    demo.lose_history()
    expect(page, "#reset-banner", "History was lost (epoch)")
    expect(page, "#state", "open")
    publish(page, "#to-me", "after the loss")
    wait_for_event(page, "notification", "after the loss")


def test_signing_out_in_one_tab_ends_the_stream_of_the_other(sign_in: SignIn) -> None:
    """It is refused when it comes back, and says so."""
    page = connected(sign_in("alice"))
    other = page.context.new_page()
    other.goto(page.url)
    connected(other)
    page.click("#sign-out")
    expect(other, "#state", "closed")


def test_the_dashboard_is_right_at_once_and_stays_so(sign_in: SignIn) -> None:
    """Real figures on load, and newer ones from its own stream."""
    page = sign_in("alice", "/dashboard")
    expect(page, "#state", "open")
    assert page.locator("#rss").text_content()
    first = page.locator("#updated").text_content()
    page.wait_for_function(
        "first => document.querySelector('#updated').textContent !== first", arg=first
    )
    assert int(page.locator("#connections").text_content() or 0) >= 1


def test_a_webhook_reaches_the_person_concerned(sign_in: SignIn, demo: Demo) -> None:
    """Signed, delivered twice, shown once; a wrong signature is refused."""
    ann, ben = connected(sign_in("alice")), connected(sign_in("bob"))
    body = json.dumps({"user": "alice", "text": "invoice 7 is paid"}).encode()
    signature = hmac.new(b"demo", body, hashlib.sha256).hexdigest()
    headers = {
        "Content_Type": "application/json",
        "X_Signature_256": f"sha256={signature}",
        "X_Delivery_Id": "7",
    }
    first = demo.request("POST", "/webhooks/payments", body, **headers)
    assert first[0] == 202
    assert demo.request("POST", "/webhooks/payments", body, **headers) == first
    headers["X_Signature_256"] = f"sha256={'0' * 64}"
    assert demo.request("POST", "/webhooks/payments", body, **headers)[0] == 401
    wait_for_event(ann, "notification", "invoice 7 is paid")
    publish(ann, "#to-everyone", "the end")
    wait_for_event(ben, "message", "the end")
    assert received(ann, "notification") == ["invoice 7 is paid"]
    assert received(ben, "notification") == []


def test_a_ticket_opens_ones_stream_and_is_in_no_log(
    sign_in: SignIn, demo: Demo, chromium: "Browser"
) -> None:
    """A browser that is not signed in needs nothing else."""
    ticket = sign_in("alice").evaluate(
        "fetch('/api/sse/ticket', {method: 'POST'})"
        ".then((response) => response.json()).then((body) => body.ticket)"
    )
    elsewhere = chromium.new_context()
    page = elsewhere.new_page()
    page.goto(f"{demo.url}/login")
    user = page.evaluate(
        """(ticket) => new Promise((resolve) => {
          const source = new EventSource(`/events?channel=lobby&ticket=${ticket}`);
          source.addEventListener("connected", (event) => {
            source.close();
            resolve(JSON.parse(event.data).user_id);
          });
        })""",
        ticket,
    )
    elsewhere.close()
    assert user == "alice"
    assert "/api/sse/ticket" in demo.log_path.read_text()
    assert ticket not in demo.log_path.read_text()


def test_data_is_shown_as_text(sign_in: SignIn) -> None:
    """What somebody typed does not become a part of the page."""
    page = connected(sign_in("alice"))
    publish(page, "#to-everyone", "<img src=x onerror=alert(1)>")
    wait_for_event(page, "message", "<img")
    assert page.locator("#log img").count() == 0


@pytest.mark.parametrize("path", ["/", "/sse-demo", "/dashboard"])
def test_it_fits_on_a_phone(sign_in: SignIn, path: str) -> None:
    """Nothing is wider than the screen."""
    page = sign_in("alice", path, width=360)
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
