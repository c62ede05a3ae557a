"""The longest gap between two events while a page begins a navigation that stays.

Each engine is measured with the client as it is, and with one that is not told of the
navigation, as a client without that part.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.engines import Chromium, Engine, Firefox, WebKit
from tests.browser.tabs import QUICK, Tab, Visitor
from tests.browser.test_engines import STAYING
from tests.live.server import Server

# Seconds between two events, and those that a measurement lasts.
PACE = 0.02
SECONDS = 6

# Hides the beginning of navigations from the client, which asks for it later.
_HIDE = """() => addEventListener(
  "beforeunload", (event) => event.stopImmediatePropagation(), true)"""

_WATCH = """() => {
  let last = performance.now();
  let longest = 0;
  const note = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  window.longest = () => (note(), Math.round(longest));
  stream.on("number", note);
}"""


@contextmanager
def events(server: Server) -> Iterator[None]:
    """Publish without a pause."""
    ended = threading.Event()

    def publish() -> None:
        number = 0
        while not ended.wait(PACE):
            server.publish(number, type="number", channel="news")
            number += 1

    thread = threading.Thread(target=publish)
    thread.start()
    yield
    ended.set()
    thread.join()


def opened(visitor: Visitor, *, is_told: bool, **options: Any) -> Tab:
    """Open a tab, which is told of navigations or not."""
    tab = visitor.blank("news")
    if not is_told:
        tab.get(_HIDE)
    tab.get("(options) => listen(options)", options)
    return tab.live()


def gaps(engine: Engine, server: Server, name: str, *, is_told: bool) -> list[int]:
    """Return the gap of a tab that has its own stream, and of one that shares it."""
    way, url = STAYING[name]
    visitor = Visitor(engine.new_context(), server.port)
    visitor.login("alice")
    target = url.format(port=server.port)
    if target.startswith("/"):
        target = visitor.origin + target
    found = []
    for options in ({}, {"shared": True}):
        leaves = opened(visitor, is_told=is_told, **options)
        watched = opened(visitor, is_told=is_told, **options) if options else leaves
        watched.get(_WATCH)
        leaves.get(way, target)
        threading.Event().wait(SECONDS)
        found.append(int(watched.get("longest()")))
    visitor.context.close()
    return found


def main() -> None:
    """Measure all engines, and print or write the table."""
    print("| ms | untold, alone | untold, shared | alone | shared |")
    print("|---|---|---|---|---|")
    settings = QUICK | {"retry": [3.0, 3.0]}
    with Server(args="--workers 2", **settings) as server, events(server):
        for engine in _engines():
            for name in STAYING:
                cells = [
                    str(gap)
                    for is_told in (False, True)
                    for gap in gaps(engine, server, name, is_told=is_told)
                ]
                print(f"| {engine.name}: {name} | {' | '.join(cells)} |", flush=True)


def _engines() -> Iterator[Engine]:
    """Start one engine after the other."""
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        launched = chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Chromium(launched)
    for start in (Firefox, WebKit):
        engine: Engine = start()
        yield engine
        engine.close()


if __name__ == "__main__":
    main()
