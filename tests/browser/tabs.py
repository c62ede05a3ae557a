"""Tabs of a real browser, each with a stream, and events that no tab may miss.

The pages belong to the live site, so they load the client as any page does.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

from tests.kit.ports import HOST
from tests.kit.reader import DEADLINE, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

#: Short times, so that tests need not wait for the defaults of half a minute.
QUICK: dict[str, Any] = {
    "heartbeat_interval": 1,
    "retry": [0.1, 0.2],
    "public_channels": ["news", "sport"],
    "max_clients_per_user": None,
    "cors_origins": ["http://localhost:{port}"],
}


class Tab:
    """One page and its stream."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        page.set_default_timeout(DEADLINE * 1000)

    def wait_for(self, expression: str) -> None:
        """Wait until an expression of the page's JavaScript is true."""
        # Poll by time and not by frame, since pages in the background have no frames.
        self.page.wait_for_function(expression, polling=20)

    def get(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(expression, argument)

    def live(self) -> Self:
        self.wait_for("window.stream?.state === 'open'")
        return self

    @property
    def errors(self) -> list[str]:
        """The errors of the page that nobody has caught."""
        found: list[str] = self.get("errors")
        return found

    @property
    def role(self) -> str:
        return str(self.get("stream.sharing.role"))

    @property
    def states(self) -> list[list[str | None]]:
        found: list[list[str | None]] = self.get("states")
        return found

    @property
    def numbers(self) -> list[int]:
        """The numbers that have arrived, in the order of their arrival."""
        found: list[int] = self.get(
            "seen.filter(({type}) => type === 'number').map(({data}) => data)"
        )
        return found

    def wait_for_closed(self, reason: str) -> None:
        self.wait_for("stream.state === 'closed'")
        assert self.get("stream.error.reason") == reason


class Visitor:
    """One browser profile, whose tabs share cookies and locks."""

    def __init__(self, context: "BrowserContext | Any", port: int) -> None:
        self.context = context
        self.port = port
        self.tabs: list[Tab] = []
        self.origin = f"http://{HOST}:{port}"

    def login(self, user: str) -> None:
        self._post(f"/login/{user}")

    def logout(self) -> None:
        self._post("/logout")

    def _post(self, path: str) -> None:
        # Sent from a page, since a login is bound to the browser that requested it.
        page = self.context.new_page()
        page.goto(f"{self.origin}/tab")
        page.evaluate("(path) => fetch(path, {method: 'POST'})", path)
        page.close()

    def blank(self, *channels: str, cursor: str | None = None) -> Tab:
        """Open a tab without a stream."""
        return self._open("", channels, cursor)

    def tab(self, *channels: str, cursor: str | None = None, **options: Any) -> Tab:
        """Open a tab whose stream has these options."""
        return self._open("#" + quote(json.dumps(options)), channels, cursor)

    def shared(self, count: int = 1, *channels: str, **options: Any) -> list[Tab]:
        """Open tabs that share one connection, and wait until all are live."""
        for_all = channels or ("news",)
        tabs = [self.tab(*for_all, shared=True, **options) for _ in range(count)]
        return [tab.live() for tab in tabs]

    def _open(self, part: str, channels: tuple[str, ...], cursor: str | None) -> Tab:
        query = [("channel", name) for name in channels]
        query += [("cursor", cursor)] if cursor is not None else []
        return self.load(f"/tab?{urlencode(query)}{part}")

    def load(self, path: str) -> Tab:
        """Open a page of the site in a new tab."""
        tab = Tab(self.context.new_page())
        self.tabs.append(tab)
        tab.page.goto(self.origin + path)
        return tab

    def leader(self) -> Tab:
        """Return the tab that holds the shared connection."""
        leaders: list[Tab] = []

        def look() -> bool:
            leaders[:] = [tab for tab in self.tabs if tab.role == "leader"]
            return len(leaders) == 1

        wait_until(look)
        return leaders[0]

    def close(self, tab: Tab) -> None:
        self.tabs.remove(tab)
        tab.page.close()


class Numbers:
    """Numbered events on a channel."""

    def __init__(self, publish: Callable[..., Any], **target: Any) -> None:
        self._publish = publish
        self._target = target or {"channel": "news"}
        self.ids: list[str] = []

    def publish(self, count: int = 1) -> str:
        """Publish the next numbers, and return the id of the last event."""
        for _ in range(count):
            number = len(self.ids)
            self.ids.append(str(self._publish(number, type="number", **self._target)))
        return self.ids[-1]

    @contextmanager
    def published_meanwhile(self) -> Iterator[None]:
        """Publish one number after the other until the block ends, and one after it.

        A tab that the block opens last may be live after the last number. It has the
        one after the block.
        """
        ended = threading.Event()

        def go_on() -> None:
            while not ended.wait(0.005):
                self.publish()

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(DEADLINE)
        self.publish()

    def all_arrived(self, *tabs: Tab, since: int | None = None) -> None:
        """Wait for the last number in each tab; check that all came once, in order.

        The check begins at the number after ``since``, or else at the first number that
        the tab has received.
        """
        last = len(self.ids) - 1
        for tab in tabs:
            tab.wait_for(f"seen.some(e => e.type === 'number' && e.data === {last})")
            numbers = tab.numbers
            first = numbers[0] if since is None else since + 1
            assert numbers == list(range(first, last + 1))
            assert tab.get("resets") == []
            assert tab.errors == []


def renderers(browser: "Browser") -> dict[int, float]:
    """Return the CPU time of each process in which pages run, by process id."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return {each["id"]: each["cpuTime"] for each in found if each["type"] == "renderer"}


def renderer_of(browser: "Browser", tab: Tab) -> int:
    """Return the process of a page.

    The browser does not report it, so the page computes and the busiest process is
    taken.
    """
    busiest = 0

    def stands_out() -> bool:
        nonlocal busiest
        before = renderers(browser)
        tab.page.evaluate("for (const end = Date.now() + 500; Date.now() < end; );")
        after = renderers(browser)
        # Another process may be busy too, with a page that was opened just now.
        spent = {pid: after[pid] - before.get(pid, 0.0) for pid in after}
        busiest = max(spent, key=spent.__getitem__)
        rest = sum(spent.values()) - spent[busiest]
        return spent[busiest] > 4 * rest

    wait_until(stands_out)
    return busiest
