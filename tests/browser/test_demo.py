"""The example app in a real browser: connect, publish, drop, resume, lose history."""

import hashlib
import hmac
import json
import re
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.browser.conftest import SignIn
from tests.browser.demo_page import (
    another_tab,
    connected,
    expect,
    publish,
    received,
    wait_for_event,
)
from tests.kit.demo import Demo
from tests.kit.reader import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.browser


def test_a_click_in_one_browser_reaches_another_browser(sign_in: SignIn) -> None:
    """The click publishes an event, which another user's browser receives."""
    ann, ben = connected(sign_in("alice")), connected(sign_in("bob"))
    publish(ann, "#to-everyone", "hello all")
    wait_for_event(ann, "message", "hello all")
    wait_for_event(ben, "message", "hello all")


def test_each_button_reaches_only_its_target(sign_in: SignIn) -> None:
    """The targets are a person, a browser, and a channel without the sender."""
    ann, ben = connected(sign_in("alice")), connected(sign_in("bob"))
    tab, elsewhere = connected(another_tab(ann)), connected(sign_in("alice"))
    publish(ann, "#to-me", "to me everywhere")
    publish(ann, "#to-client", "to this browser")
    ann.select_option("#user", "bob")
    publish(ann, "#to-user", "to bob")
    publish(ann, "#to-lobby", "to the lobby")
    publish(ann, "#to-everyone", "the end")
    for page in (ann, tab, elsewhere, ben):
        wait_for_event(page, "message", "the end")
    for page in (ann, tab):
        assert received(page, "notification") == ["to me everywhere", "to this browser"]
        assert received(page, "lobby") == []
    assert received(elsewhere, "notification") == ["to me everywhere"]
    assert received(ben, "notification") == ["to bob"]
    for page in (elsewhere, ben):
        assert received(page, "lobby") == ["to the lobby"]


def test_a_cut_connection_resumes_and_misses_nothing(sign_in: SignIn) -> None:
    """The events that were published in between arrive once and in order."""
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


def test_the_page_reports_a_resume(sign_in: SignIn) -> None:
    """It shows how long it was away, and how many events it has caught up."""
    page = connected(sign_in("alice"))
    page.click("#cut-burst")
    page.locator("#resumed", has_text="caught up").wait_for()
    said = page.locator("#resumed").text_content() or ""
    assert re.fullmatch(r"Resumed after \d+\.\d s, \d events? caught up\.", said)


def test_a_quiet_page_sees_pings(sign_in: SignIn) -> None:
    """Pings tell a script that its stream is alive."""
    page = connected(sign_in("alice"))
    page.locator("#log li[data-type=ping]").first.wait_for()
    assert "-" in (page.locator("#resume-id").text_content() or "")


def test_a_kill_of_all_workers_loses_nothing(sign_in: SignIn, demo: Demo) -> None:
    """Pages on both workers receive each other's events before and after it."""
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


def test_lost_history_is_shown(sign_in: SignIn, demo: Demo) -> None:
    """The page reconnects by itself, and shows that it loaded its state again."""
    page = connected(sign_in("alice"))
    publish(page, "#to-me", "before the loss")
    wait_for_event(page, "notification", "before the loss")
    demo.lose_history()
    expect(page, "#reset-banner", "History was lost (epoch)")
    expect(page, "#state", "live")
    publish(page, "#to-me", "after the loss")
    wait_for_event(page, "notification", "after the loss")


def test_the_lobby_lists_people_on_any_page(sign_in: SignIn) -> None:
    """A person is listed once until the last tab is closed, with an avatar."""
    ann = connected(sign_in("alice"))
    ben = sign_in("bob", "/")
    another_tab(ben, "/chat")
    bob = ann.locator("#people li[data-user=bob]")
    bob.wait_for()
    assert bob.locator(".avatar").text_content() == "B"
    assert bob.locator(".name").text_content() == "bob"
    assert bob.count() == 1
    ben.context.close()
    bob.wait_for(state="detached")
    expect(ann, "#people li", "alice")


def test_the_lobby_shows_who_is_typing(sign_in: SignIn) -> None:
    """The others see it for a moment. No history of it is kept."""
    ann, ben = connected(sign_in("alice")), connected(sign_in("bob"))
    typing = ben.locator("#people li[data-user=alice] .typing")
    ben.locator("#people li[data-user=alice]").wait_for()
    ann.press("#text", "x")
    typing.wait_for()
    assert ann.locator("#people .typing").count() == 0
    typing.wait_for(state="detached")
    ben.reload()
    connected(ben)
    ben.locator("#people li[data-user=alice]").wait_for()
    assert ben.locator("#log li[data-type=typing]").count() == 0


def test_the_dashboard_is_correct_when_loaded_and_stays_correct(
    sign_in: SignIn,
) -> None:
    """It has real figures on load, and receives newer ones by its own stream."""
    page = sign_in("alice", "/dashboard")
    assert float(page.locator("#rss").text_content() or 0) > 1
    connected(page)
    first = page.locator("#updated").text_content()
    page.wait_for_function(
        "first => document.querySelector('#updated').textContent !== first", arg=first
    )
    page.wait_for_function(
        "() => Number(document.querySelector('#connections').textContent) >= 1"
    )


def test_the_dashboard_shows_the_whole_server(sign_in: SignIn, demo: Demo) -> None:
    """Its streams are those of both workers, whichever of them serves the page."""
    pages = [sign_in(name) for name in ("alice", "bob", "alice", "bob", "alice", "bob")]
    for page in pages:
        connected(page)
    shown = sign_in("admin", "/dashboard")

    def both_are_listed() -> bool:
        # A worker without a stream is a worker from its first health check on.
        demo.request("GET", "/events/health")
        return shown.locator("#workers tbody tr").count() == 2

    wait_until(both_are_listed)
    shown.wait_for_function(
        """() => {
          const rows = [...document.querySelectorAll("#workers tbody tr")]
            .map((row) => [...row.children].map((cell) => Number(cell.textContent)));
          const streams = rows.reduce((sum, row) => sum + row[2], 0);
          const [told, people] = ["#connections", "#users"]
            .map((id) => Number(document.querySelector(id).textContent));
          return rows.length === 2 && rows.every((row) => row[4] > 1)
            && streams === told && told >= 8 && people === 3;
        }"""
    )
    workers = {each.pid for each in psutil.Process(demo.process.pid).children()}
    pids = shown.locator("#workers td:nth-child(2)").all_text_contents()
    assert set(map(int, pids)) == workers


def test_a_dashboard_shows_the_state_of_its_stream(sign_in: SignIn) -> None:
    """The figures of the last minutes. After a reset, none is there twice."""
    page = sign_in("alice", "/dashboard")
    figures = json.loads(page.locator("#dashboard-figures").text_content() or "")
    workers = [figures["workers"][0] | {"pid": 7}]
    later = {"time": figures["time"] + 60, "workers": workers}
    values = [figures | later | {"time": later["time"] + 2 * n} for n in range(3)]
    # Two workers have published the last of them.
    values.append(values[-1])
    state = "".join(_VALUE.format(json.dumps(each)) for each in values)
    reset = "retry: 60000\nevent: reset\ndata: {}\n\n"
    asked: list[str] = []

    def answer(route: "Route") -> None:
        asked.append(route.request.url)
        body = state + reset + state
        route.fulfill(content_type="text/event-stream", body=body)

    page.route("**/api/dashboard/sse*", answer)
    page.reload()
    page.click("#table summary")
    page.locator("#workers td", has_text=re.compile("^7$")).wait_for()
    # The figures that came with the page, and three of the stream.
    assert page.locator("#table tbody tr").count() == 1 + 3
    assert "state=1" in asked[0]


_VALUE = "event: dashboardUpdate\nstate: true\ndata: {}\n\n"


def test_a_webhook_reaches_the_person_concerned(sign_in: SignIn, demo: Demo) -> None:
    """A delivery that is sent twice is shown once; a wrong signature is refused."""
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


def test_a_ticket_opens_its_users_stream_and_is_in_no_log(
    sign_in: SignIn, demo: Demo, chromium: "Browser"
) -> None:
    """A browser that is not signed in needs only the ticket."""
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
