"""The browser client reconnects after every kind of fault, and misses no event."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import MakeVisitor
from tests.browser.proxy import Proxy
from tests.browser.tabs import Numbers, Tab, Visitor, renderers
from tests.kit.reader import wait_until
from tests.live.server import Server, asleep

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture
def numbers(server: Server) -> Numbers:
    return Numbers(server.publish)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


# Pages of a headless browser are always visible, so the tests fake visibility.
_MAY_HIDE = """
  Object.defineProperty(document, "hidden", { get: () => window.isHidden });
  window.show = (isShown) => {
    window.isHidden = !isShown;
    document.dispatchEvent(new Event("visibilitychange"));
  };
"""


def both_ways(visitor: Visitor, **options: Any) -> list[Tab]:
    """Open a tab with its own stream, and two tabs that share one."""
    alone = visitor.tab("news", **options).live()
    return [alone, *visitor.shared(2, **options)]


def wait_for_error(tabs: list[Tab], reason: str) -> None:
    for tab in tabs:
        tab.wait_for(f"states.some(([, reason]) => reason === '{reason}')")


def test_a_client_reconnects_with_the_network(
    server: Server, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """The browser reports when the network is back."""
    visitor = make_visitor()
    tabs = both_ways(visitor)
    visitor.context.set_offline(True)
    # Open connections stay open in this emulation, so the server ends them.
    server.request("POST", "/disconnect/alice")
    wait_for_error(tabs, "network")
    numbers.publish(3)
    visitor.context.set_offline(False)
    numbers.all_arrived(*tabs, since=-1)


def test_an_attempt_without_an_answer_is_given_up(
    proxy: Proxy, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """This includes an attempt that replaced an open connection."""
    tab = make_visitor(port=proxy.port).blank("news")
    tab.page.clock.install()
    tab.get("listen({})")
    tab.live()
    proxy.is_silent = True
    # The browser may reuse an open connection for the attempt.
    proxy.swallow()
    tab.get("stream.reconnect()")
    tab.wait_for("stream.state === 'reconnecting'")
    tab.page.clock.fast_forward(60_000)
    wait_for_error([tab], "silent")
    numbers.publish(3)
    proxy.is_silent = False
    tab.page.clock.fast_forward(60_000)
    numbers.all_arrived(tab, since=-1)


def test_a_machine_that_slept_catches_up(
    chromium: "Browser", server: Server, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """All pages were suspended for some heartbeats."""
    tabs = both_ways(make_visitor())
    clock = server.stream("/events?channel=news")
    with asleep(*renderers(chromium)):
        numbers.publish(3)
        for _ in range(4):
            clock.next("ping")
    clock.close()
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    for tab in tabs:
        tab.live()


def test_a_hidden_page_has_no_connection(
    server: Server, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """When it is visible again, it receives all missed events."""
    visitor = make_visitor()
    visitor.context.add_init_script(_MAY_HIDE)
    tabs = both_ways(visitor, pauseWhenHidden=0.1)
    for tab in tabs:
        tab.get("show(false)")
    wait_for_error(tabs, "hidden")
    wait_until(lambda: server.connections() == 0)
    numbers.publish(3)
    for tab in tabs:
        tab.get("show(true)")
    numbers.all_arrived(*tabs, since=-1)


def test_a_stream_that_has_ended_is_not_paused(make_visitor: MakeVisitor) -> None:
    """A page that is hidden later does not connect again."""
    visitor = make_visitor()
    visitor.context.add_init_script(_MAY_HIDE)
    tab = visitor.blank("news")
    tab.page.clock.install()
    tab.get("listen({ pauseWhenHidden: 60 })")
    tab.live().get("show(false)")
    visitor.logout()
    tab.wait_for_closed("unauthorized")
    tab.page.clock.fast_forward(61_000)
    tab.wait_for_closed("unauthorized")


def test_a_page_continues_after_the_back_button(
    chromium_with_cache: "Browser", server: Server, numbers: Numbers
) -> None:
    """The page was in the browser's back/forward cache, without a connection."""
    visitor = Visitor(chromium_with_cache.new_context(), server.port)
    visitor.login("alice")
    tabs = both_ways(visitor)
    for tab in tabs:
        tab.get("window.isTheSame = true")
        tab.page.goto("about:blank")
    numbers.publish(3)
    for tab in tabs:
        # A page from the cache is not loaded again.
        tab.page.go_back(wait_until="commit")
        assert tab.get("window.isTheSame")
    numbers.all_arrived(*tabs, since=-1)


def test_each_attempt_requests_a_new_ticket(
    server: Server, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """The stream is of another origin, to which no cookie is sent."""
    visitor = make_visitor(user=None)
    tab = visitor.blank()
    tab.page.goto(f"http://localhost:{server.port}/tab")
    tab.page.evaluate(
        """(url) => {
          window.tickets = [];
          const ticket = async () => {
            const response = await fetch("/ticket", {
              method: "POST",
              headers: { "Content-Type": "application/json" },
              body: JSON.stringify({ user: "alice", channels: ["news"] }),
            });
            tickets.push(await response.text());
            return tickets.at(-1);
          };
          listen({ ticket }, url);
        }""",
        f"{visitor.origin}/events",
    )
    tab.live()
    assert tab.get("stream.userId") == "alice"
    numbers.publish(3)
    numbers.all_arrived(tab, since=-1)
    server.request("POST", "/disconnect/alice")
    tab.wait_for("new Set(tickets).size === 2")
    numbers.publish(3)
    numbers.all_arrived(tab, since=-1)


def test_a_stream_may_be_requested_by_post(
    server: Server, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """The client sends the body and the headers again when it reconnects."""
    tab = make_visitor().blank()
    tab.get(
        """listen(
          { method: "POST", body: "{}", headers: { "X-Asked-By": "a test" } },
          "/events-by-post",
        )"""
    )
    tab.live()
    server.request("POST", "/disconnect/alice")
    tab.wait_for("states.some(([state]) => state === 'reconnecting')")
    numbers.publish(3)
    numbers.all_arrived(tab, since=-1)


def test_a_loop_over_a_stream_ends_with_it(
    server: Server, make_visitor: MakeVisitor, numbers: Numbers
) -> None:
    """Closing the stream ends the loop, and the connection at the server."""
    tab = make_visitor().tab("news").live()
    tab.get(
        """void (async () => {
          window.looped = [];
          for await (const { type, data } of stream) {
            if (type === "number") looped.push(data);
          }
          looped.push("the end");
        })()"""
    )
    numbers.publish(3)
    tab.wait_for("looped.length === 3")
    tab.get("stream.close()")
    tab.wait_for("looped.length === 4")
    assert tab.get("looped") == [0, 1, 2, "the end"]
    assert tab.get("stream.state") == "closed"
    wait_until(lambda: server.connections() == 0)


def test_the_reason_of_a_refusal_is_in_the_error(make_visitor: MakeVisitor) -> None:
    """A page that handles states sees which channel is closed."""
    tab = make_visitor().tab("typo")
    tab.wait_for_closed("forbidden")
    said = "the server answered 403: the channel 'typo' is not open to you"
    assert tab.get("stream.error.message") == said


def test_a_page_listens_to_a_pattern_and_returns_to_a_channel(
    server: Server, make_visitor: MakeVisitor
) -> None:
    """Each event below the pattern comes once, and what was missed comes first."""
    tab = make_visitor().tab("alice+orders.*", "news").live()
    tab.get("void (window.got = () => seen.filter(({ type }) => type === 'message'))")
    for target in (
        {"channel": "alice+orders.7"},
        {"channel": ["alice+orders.8", "news"]},
        {"channel": "alice+others.9"},
        {"channel": "news"},
    ):
        server.publish(str(target["channel"]), **target)
    tab.wait_for("got().length === 3")
    channels = tab.get("got().map(({ channel }) => channel)")
    assert channels == ["alice+orders.7", None, "news"]
    tab.get("stream.unsubscribe('alice+orders.*')")
    tab.wait_for("seen.some(({ type }) => type === 'subscribed')")
    missed = server.publish("missed", channel="alice+orders.7")
    tab.get("stream.subscribe('alice+orders.7', { since: got()[0].id })")
    tab.wait_for("got().length === 4")
    assert tab.get("got()[3].earlier") == missed
    assert tab.get("stream.lastEventId") != missed


@pytest.mark.parametrize("shared", [False, True])
def test_a_refusal_that_nobody_handles_is_in_the_console(
    make_visitor: MakeVisitor, shared: bool
) -> None:
    """A page without handlers for states would otherwise just stay empty."""
    tab = make_visitor().blank("news")
    with tab.page.expect_console_message(
        lambda message: message.type == "warning"
    ) as warning:
        tab.get(
            """(shared) => import("sse-hub").then(({ connect }) => {
              connect("/events?channel=typo", { shared });
            })""",
            shared,
        )
    assert "/events?channel=typo is closed" in warning.value.text
    assert "403: the channel 'typo' is not open to you" in warning.value.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("{ share: true }", 'no option "share" exists'),
        ('{ ticket: "abc" }', "ticket must be of type function"),
        ('{ body: "{}" }', "body"),
    ],
)
def test_a_mistake_in_plain_javascript_is_an_error(
    make_visitor: MakeVisitor, options: str, text: str
) -> None:
    """The error is thrown by the call, before any request."""
    tab = make_visitor().blank("news")
    said = tab.get(
        f"""import("sse-hub").then(({{ connect }}) => {{
          try {{ connect("/events", {options}); }}
          catch (error) {{ return String(error); }}
        }})"""
    )
    assert said.startswith("TypeError: ")
    assert text in said


@pytest.mark.parametrize("shared", [False, True])
def test_headers_may_be_a_headers_object(
    server: Server, make_visitor: MakeVisitor, shared: bool
) -> None:
    """They are sent, as those of an object are."""
    tab = make_visitor().blank("news")
    with tab.page.expect_request("**/events?**") as request:
        tab.get(
            f"""listen({{
              shared: {str(shared).lower()},
              headers: new Headers({{ "X-Own": "yes" }}),
            }})"""
        )
    assert request.value.headers["x-own"] == "yes"
    tab.live()
