"""The samples for pages, as the documentation shows them, in a real Chromium."""

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.browser.conftest import MakeVisitor
from tests.browser.tabs import Visitor
from tests.documented.samples import sample
from tests.live.server import Server
from tests.ports import HOST
from tests.reader import wait_until

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
ANSWER = sample("docs/api.md", "js", with_='"done"')
TICKET = sample("docs/api.md", "js", with_="ticket=")

#: What samples leave to their reader: each notes what it is called with.
NAMES = """
import { connect } from "sse-hub";
window.calls = [];
const [show, log, badge, showThatItIsOver] = ["show", "log", "badge", "over"].map(
  (name) => (...values) => calls.push([name, ...values])
);
"""


def show(visitor: Visitor, html: str) -> "Page":
    """Return a page of the app with a template."""
    page = visitor.context.new_page()
    page.goto(f"{visitor.origin}/tab?template={quote(html)}")
    return page


def run(visitor: Visitor, code: str) -> "Page":
    """Return a page that runs a script."""
    html = '{{ sse_hub.script("news") }}<script type="module">'
    return show(visitor, f"{html}{NAMES}{code}</script>")


def publish(server: Server, page: "Page", expected: str, **event: str) -> None:
    """Publish until a page has seen it, which is not for it before its stream is open.

    Expected is an expression of the page's JavaScript.
    """

    def is_seen() -> object:
        server.publish({"text": "shown"}, channel="news", **event)
        return page.evaluate(expected)

    wait_until(is_seen)


@pytest.mark.parametrize("sample", THREE_LINES, ids=["readme", "browser"])
def test_three_lines_show_live_events(
    server: Server, make_visitor: MakeVisitor, sample: str
) -> None:
    """Whoever copies them into a template sees what is published."""
    page = show(make_visitor(), sample)
    publish(server, page, "document.title === 'shown'", type="notification")


def test_connect_calls_the_handlers_it_is_given(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """By type, for all types, and for states."""
    page = run(make_visitor(), CONNECT)
    publish(server, page, "calls.some(([name]) => name === 'show')", type="story")
    calls = page.evaluate("calls")
    assert ["badge", "open", None] in calls
    assert ["show", {"text": "shown"}] in calls
    assert ["log", "connected"] in calls
    assert ["log", "story"] in calls


def test_tabs_share_one_connection(server: Server, make_visitor: MakeVisitor) -> None:
    """Each of them hears, and the server has one client."""
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


def test_a_native_event_source_hears_and_is_told_of_the_end(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """After a logout it is refused, which is all that it sees."""
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
    """Which is done, or an error with a message; it is not asked for again."""
    code = ANSWER.replace("/import/7", f"/answers/{kind}")
    page = run(make_visitor(), f"{code} window.source = source;")
    page.wait_for_function("window.calls?.length")

    def is_over() -> object:
        # Each worker holds its own answers back.
        server.request("POST", "/answers/release")
        return page.evaluate("source.readyState === EventSource.CLOSED")

    wait_until(is_over)
    calls = page.evaluate("calls")
    assert calls[0] == ["show", "first"]
    assert calls[-1] == ["show", last]


def test_a_ticket_opens_a_stream_of_another_origin(
    server: Server, make_visitor: MakeVisitor, chromium: "Browser"
) -> None:
    """Without any cookie."""
    visitor = make_visitor()
    asking = visitor.context.new_page()
    asking.goto(f"{visitor.origin}/events/health/live")
    ticket = asking.evaluate(
        "fetch('/ticket', {method: 'POST', body: '{}',"
        " headers: {'Content-Type': 'application/json'}}).then((it) => it.text())"
    )
    page = chromium.new_page()
    # One of SSE_HUB_CORS_ORIGINS, and not that of the app.
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
