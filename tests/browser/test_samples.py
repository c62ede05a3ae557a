"""The documentation's samples for pages, in a real Chromium."""

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.browser.conftest import MakeVisitor
from tests.browser.tabs import Visitor
from tests.documented.samples import sample
from tests.kit.ports import HOST
from tests.kit.reader import wait_until
from tests.live.server import Server
from tests.live.site import WORKERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

BROWSER = "docs/browser.md"
THREE_LINES = [
    sample("README.md", "html", with_="connect()"),
    sample(BROWSER, "html", with_="connect()"),
]
CONNECT = sample(BROWSER, "js", with_="onState")
SHARED = sample(BROWSER, "js", with_="shared: true")
NATIVE = sample(BROWSER, "js", with_="new EventSource(")
SERVICE_WORKER = sample(BROWSER, "js", with_="respondWith")
PRICES = sample("docs/live-prices.md", "js")
TYPING = sample("docs/typing-indicators.md", "js")
PROGRESS = sample("docs/jobs.md", "js")
BELL = sample("docs/notifications.md", "html")
ROOMS = sample("docs/rooms.md", "js")
ANSWER = sample("docs/responses.md", "js", with_='"done"')
TICKET = sample("docs/page-setup.md", "js", with_="ticket=")

#: The functions that samples leave to their readers. Each records its arguments.
NAMES = """
import { connect } from "sse-hub";
window.calls = [];
const [show, log, badge, showThatItIsOver] = ["show", "log", "badge", "over"].map(
  (name) => (...values) => calls.push([name, ...values])
);
"""


def show(visitor: Visitor, html: str) -> "Page":
    """Return a page of the app that renders a template."""
    page = visitor.context.new_page()
    page.goto(f"{visitor.origin}/tab?template={quote(html)}")
    return page


def run(visitor: Visitor, code: str) -> "Page":
    """Return a page that runs a script."""
    html = '{{ sse_hub.script("news") }}<script type="module">'
    return show(visitor, f"{html}{NAMES}{code}</script>")


def publish(server: Server, page: "Page", expected: str, **event: str) -> None:
    """Publish events until ``expected``, a JavaScript expression of the page, is true.

    The page does not receive events that are published before its stream is open.
    """

    def is_seen() -> object:
        server.publish({"text": "shown"}, channel="news", **event)
        return page.evaluate(expected)

    wait_until(is_seen)


@pytest.mark.parametrize("sample", THREE_LINES, ids=["readme", "browser"])
def test_three_lines_show_live_events(
    server: Server, make_visitor: MakeVisitor, sample: str
) -> None:
    """A template with these lines shows published events."""
    page = show(make_visitor(), sample)
    publish(server, page, "document.title === 'shown'", type="notification")


def test_connect_calls_the_handlers_it_is_given(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """It calls handlers for a type, for all types and for states."""
    page = run(make_visitor(), CONNECT)
    publish(server, page, "calls.some(([name]) => name === 'show')", type="story")
    calls = page.evaluate("calls")
    assert ["badge", "open", None] in calls
    assert ["show", {"text": "shown"}] in calls
    assert ["log", "connected"] in calls
    assert ["log", "story"] in calls


def test_tabs_share_one_connection(server: Server, make_visitor: MakeVisitor) -> None:
    """Each tab receives the events, and the server has one client."""
    visitor = make_visitor()
    pages = [
        run(
            visitor, f"window.stream = {SHARED} stream.on('*', (_, it) => log(it.data))"
        )
        for _ in range(2)
    ]
    for page in pages:
        page.wait_for_function("window.stream?.state === 'open'")
        publish(server, page, "calls.some(([, data]) => data.text === 'shown')")
    roles = {page.evaluate("stream.sharing.role") for page in pages}
    assert roles == {"leader", "follower"}
    assert len({page.evaluate("stream.clientId") for page in pages}) == 1


def test_a_service_worker_lets_streams_pass() -> None:
    """tests/browser/test_engines.py has this worker answer in each engine."""
    assert SERVICE_WORKER in (WORKERS / "passing.js").read_text()


def test_prices_are_shown_from_the_first_moment(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """A page begins with the current prices, and follows them."""
    visitor = make_visitor()

    def price(value: float | None) -> None:
        data = {"symbol": "AAPL", "price": value}
        kind = "price" if value else "delisted"
        server.publish(data, type=kind, key="AAPL", channel="news", delete=not value)

    price(201.5)
    names = """window.calls = [];
    const [show, remove, clear] = ["show", "remove", "clear"].map(
      (name) => (...values) => calls.push([name, ...values])
    );"""
    code = PRICES.replace("channel=prices", "channel=news")
    html = '{{ sse_hub.script("news") }}<script type="module">'
    page = show(visitor, f"{html}{code}{names}</script>")
    page.wait_for_function("window.calls?.length === 1")
    price(202.0)
    price(None)
    page.wait_for_function("calls.length === 3")
    assert page.evaluate("calls") == [
        ["show", "AAPL", 201.5],
        ["show", "AAPL", 202.0],
        ["remove", "AAPL"],
    ]


def test_an_indicator_is_hidden_again(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """The page hides it by itself, sooner here than on a page."""
    names = "const timers = {}; const hide = (name) => calls.push(['hide', name]);"
    code = TYPING.partition(";")[2].replace("5000", "5")
    code = code.replace("channel=chat.7&channel=typing.7", "channel=news")
    page = run(make_visitor(), names + code)

    def is_hidden() -> object:
        server.publish({"user": "7"}, channel="news", type="typing", ttl=5)
        return page.evaluate("calls.some(([name]) => name === 'hide')")

    wait_until(is_hidden)
    assert page.evaluate("calls")[0] == ["show", "7"]


def test_a_progress_bar_is_there_after_a_reload(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """A page that is loaded in the middle of a job shows its progress, and its end."""
    visitor = make_visitor()
    about = {"channel": "news", "key": "import:7"}
    server.publish({"done": 1, "of": 4}, type="progress", **about)
    names = """window.calls = [];
    const [showBar, hideBar] = ["show", "hide"].map(
      (name) => (...values) => calls.push([name, ...values])
    );"""
    code = PROGRESS.replace("/events", "/events?channel=news")
    html = '{{ sse_hub.script("news") }}<script type="module">'
    page = show(visitor, f"{html}{code}{names}</script>")
    page.wait_for_function("window.calls?.length === 1")
    server.publish({"rows": 4}, type="imported", delete=True, **about)
    page.wait_for_function("calls.length === 2")
    assert page.evaluate("calls") == [["show", 0.25], ["hide", 4]]


def test_a_bell_counts_new_notifications(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """A notification that the page was loaded with is not counted twice."""
    rows = "{% set unread = [{'id': 1, 'text': 'old'}] %}"
    cursor = "{% set cursor = sse_hub.cursor() %}"
    page = show(make_visitor(), rows + cursor + BELL)
    counted = "document.querySelector('#count').textContent === '%s'"
    for number in (1, 2):
        server.publish({"id": number, "text": "new"}, type="notification")
    page.wait_for_function(counted % 2)
    assert page.locator("#notifications li").all_text_contents() == ["old", "new"]
    server.publish("", type="all-read")
    page.wait_for_function(counted % 0)


def test_a_bell_is_right_again_after_a_reset(make_visitor: MakeVisitor) -> None:
    """Its parts are loaded again. The page itself stays."""
    visitor = make_visitor()
    visit = "{% set _ = session.update(visits=session.get('visits', 0) + 1) %}"
    rows = [{"id": 1, "text": "old"}, {"id": 2, "text": "missed"}]
    unread = f"{{% set unread = {rows}[:session['visits']] %}}"
    reset = 'retry: 60000\n\nevent: reset\ndata: {"reason": "expired"}\n\n'
    visitor.context.route(
        re.compile("/events\\?"),
        lambda route: route.fulfill(content_type="text/event-stream", body=reset),
    )
    visitor.context.add_init_script("Math.random = () => 0")
    page = show(visitor, visit + unread + BELL)
    page.wait_for_function("document.querySelector('#count').textContent === '2'")
    shown = page.locator("#notifications li").all_text_contents()
    assert shown == ["old", "missed"]


def test_a_page_enters_and_leaves_rooms_on_one_connection(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """Each event names its room; a room that is not open is refused."""
    page = run(
        make_visitor("admin"), f"{ROOMS} Object.assign(window, {{enter, leave}})"
    )

    def wait_for(*call: object) -> None:
        text = json.dumps(call, separators=(",", ":"))
        page.wait_for_function(
            f"calls?.some((each) => JSON.stringify(each) === {text!r})"
        )

    opened = server.stats()["opened"]
    wait_for("badge", ["news", "room.7"], None)
    page.evaluate("enter('room.8')")
    wait_for("badge", ["news", "room.7", "room.8"], None)
    server.publish("hello", channel="room.8")
    wait_for("show", "room.8", "hello")
    page.evaluate("leave('room.8')")
    wait_for("badge", ["news", "room.7"], None)
    assert page.evaluate("enter('a*').catch(({ reason }) => reason)") == "bad-request"
    assert server.stats()["opened"] <= opened + 1


def test_a_native_event_source_receives_events_and_notices_the_end(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """After a logout it is refused, and sees only that."""
    visitor = make_visitor()
    page = run(visitor, NATIVE)
    publish(
        server, page, "calls.some(([name]) => name === 'show')", type="notification"
    )
    assert ["show", {"text": "shown"}] in page.evaluate("calls")
    visitor.logout()
    page.wait_for_function("calls.some(([name]) => name === 'over')")


@pytest.mark.parametrize(
    ("kind", "last"),
    [("waiting", "19"), ("in-the-middle", "the stream ended by an error")],
)
def test_an_answer_is_shown_to_its_end(
    server: Server, make_visitor: MakeVisitor, kind: str, last: str
) -> None:
    """It ends with done or with an error message, and is not requested again."""
    code = ANSWER.replace("/import/7", f"/answers/{kind}")
    page = run(make_visitor(), f"{code} window.source = source;")
    page.wait_for_function("window.calls?.length")

    def is_over() -> object:
        # Each worker releases only its own answers.
        server.request("POST", "/answers/release")
        return page.evaluate("source.readyState === EventSource.CLOSED")

    wait_until(is_over)
    calls = page.evaluate("calls")
    assert calls[0] == ["show", "first"]
    assert calls[-1] == ["show", last]


def test_a_ticket_opens_a_stream_of_another_origin(
    server: Server, make_visitor: MakeVisitor, chromium: "Browser"
) -> None:
    """The stream needs no cookie."""
    visitor = make_visitor()
    asking = visitor.context.new_page()
    asking.goto(f"{visitor.origin}/events/health/live")
    ticket = asking.evaluate(
        "fetch('/ticket', {method: 'POST', body: '{}',"
        " headers: {'Content-Type': 'application/json'}}).then((it) => it.text())"
    )
    page = chromium.new_page()
    # This origin is in SSE_HUB_CORS_ORIGINS, and is not the app's own.
    page.goto(f"http://localhost:{server.port}/events/health/live")
    code = TICKET.replace("https://app.example", f"http://{HOST}:{server.port}")
    user = page.evaluate(
        f"(ticket) => new Promise((resolve) => {{ const source = {code}"
        " source.addEventListener('connected', (event) => {"
        "   source.close(); resolve(JSON.parse(event.data).user_id); }); })",
        ticket,
    )
    page.close()
    assert user == "alice"
