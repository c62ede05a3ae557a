"""A browser's own EventSource behind the proxies of docs/deploying.md."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from flask_sse_hub import Publisher
from tests.kit.reader import DEADLINE
from tests.live.proxies import PROXIES, Proxy
from tests.live.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

#: The script of a tab without our client.
LISTEN = """
window.seen = [];
window.errors = 0;
window.source = new EventSource("/events");
source.onmessage = ({data}) => seen.push(data);
source.onerror = () => errors++;
new Promise((resolve) => source.addEventListener("connected", resolve, {once: true}));
"""

#: Replaces the times in the page's configurations, so that tests need not wait.
QUICK = {"retry: 5000": "retry: 100"}


@contextmanager
def visit(chromium: "Browser", proxy: Proxy) -> Iterator["BrowserContext"]:
    """Log alice in, in a browser that accepts the proxy's certificate."""
    with closing(chromium.new_context(ignore_https_errors=True)) as context:
        context.set_default_timeout(DEADLINE * 1000)
        page = context.new_page()
        page.goto(f"{proxy.url}/events/health/live")
        page.evaluate("fetch('/login/alice', {method: 'POST'})")
        page.close()
        yield context


def listen(context: "BrowserContext", proxy: Proxy) -> "Page":
    """Return a tab whose stream is open."""
    tab = context.new_page()
    tab.goto(f"{proxy.url}/events/health/live")
    tab.evaluate(LISTEN)
    return tab


def test_eight_tabs_have_a_stream_each(chromium: "Browser", server: Server) -> None:
    """With HTTP/1.1, a browser has six connections, and the seventh tab has none."""
    with (
        Proxy("nginx", server.port) as proxy,
        visit(chromium, proxy) as context,
    ):
        tabs = [listen(context, proxy) for _ in range(8)]
        server.publish("to all")
        for tab in tabs:
            tab.wait_for_function("seen.includes('to all')", polling=20)


@pytest.mark.parametrize("kind", PROXIES)
def test_a_stop_and_a_start_of_the_app_lose_nothing(
    chromium: "Browser", server: Server, kind: str
) -> None:
    """The same EventSource reconnects, and resumes after its last event."""
    waits = {"lb_try_duration 5s": "lb_try_duration 1s"} if kind == "caddy" else {}
    with (
        Proxy(kind, server.port, edit=QUICK | waits) as proxy,
        visit(chromium, proxy) as context,
    ):
        tab = listen(context, proxy)
        server.publish("before")
        tab.wait_for_function("seen.length === 1", polling=20)
        server.kill()
        # The first error is the cut. The second is the proxy's answer without the app.
        tab.wait_for_function("errors >= 2", polling=20)
        # Published while no client is connected: a client that resumes receives it.
        with closing(Publisher(f"sqlite:///{server.folder}/hub.db")) as publisher:
            publisher.publish("meanwhile")
        server.restart()
        tab.wait_for_function("seen.length === 2", polling=20)
        assert tab.evaluate("seen") == ["before", "meanwhile"]
        assert tab.evaluate("source.readyState") == 1
