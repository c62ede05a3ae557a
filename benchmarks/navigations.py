"""The longest gap between two events while a page begins a navigation that stays.

Each engine is measured with an EventSource, with the client as it is, and with one that
is not told of the navigation, as a client without that part. The first case of each
engine is no navigation: its gaps are those of the machine. ``--write`` writes the table
into docs/browser.md.
"""

import argparse
import shutil
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.engines import Chromium, Engine, Firefox, WebKit
from tests.browser.engines.table import PAGE, between
from tests.browser.tabs import QUICK, Tab, Visitor
from tests.browser.test_engines import STAYING
from tests.live.server import Server

# Seconds between two events, and those that a measurement lasts.
PACE = 0.02
SECONDS = 6

# The figure of a cell is the median of these.
ROUNDS = 3

#: The function that a page runs, and its argument, by the name of the row.
CASES = {"no navigation": ("() => {}", "")} | STAYING

#: The listeners, by the name of the column.
WAYS: dict[str, dict[str, Any]] = {
    "`EventSource`": {"is_native": True},
    "client without the cure": {"is_told": False},
    "client without the cure, shared": {"is_told": False, "shared": True},
    "client": {},
    "client, shared": {"shared": True},
}

MARKER = "<!-- `make bench-navigations` writes from here -->\n"

# Hides the beginning of navigations from the client, which asks for it later.
_HIDE = """() => addEventListener(
  "beforeunload", (event) => event.stopImmediatePropagation(), true)"""

_LISTEN_NATIVELY = """() => {
  const source = new EventSource("/events?channel=news");
  const on = (type, handler) => source.addEventListener(type, handler);
  window.stream = { on, state: "connecting" };
  on("connected", () => { stream.state = "open"; });
}"""

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
    try:
        yield
    finally:
        ended.set()
        thread.join()


def opened(
    visitor: Visitor,
    *,
    is_native: bool = False,
    is_told: bool = True,
    shared: bool = False,
) -> Tab:
    """Open a tab that listens in one of the ways."""
    tab = visitor.blank("news")
    if is_native:
        tab.get(_LISTEN_NATIVELY)
        return tab.live()
    if not is_told:
        tab.get(_HIDE)
    tab.get("(options) => listen(options)", {"shared": shared})
    return tab.live()


def gap(engine: Engine, server: Server, case: str, **way: Any) -> int:
    """Return the gap of the tab that navigates, or of one that shares its stream."""
    action, url = CASES[case]
    visitor = Visitor(engine.new_context(), server.port)
    visitor.login("alice")
    target = url.format(port=server.port)
    if target.startswith("/"):
        target = visitor.origin + target
    leaves = opened(visitor, **way)
    watched = opened(visitor, **way) if way.get("shared") else leaves
    watched.get(_WATCH)
    leaves.get(action, target)
    threading.Event().wait(SECONDS)
    found = int(watched.get("longest()"))
    visitor.context.close()
    return found


def rows() -> Iterator[tuple[str, ...]]:
    """Measure all engines, and return the cells of the table."""
    yield ("ms", *WAYS)
    yield ("---", *["---:"] * len(WAYS))
    settings = QUICK | {"retry": [3.0, 3.0]}
    with Server(args="--workers 2", **settings) as server, events(server):
        for engine in _engines():
            for case in CASES:
                rounds = [
                    [gap(engine, server, case, **way) for way in WAYS.values()]
                    for _ in range(ROUNDS)
                ]
                medians = map(statistics.median, zip(*rounds, strict=True))
                yield (f"{engine.name}: {case}", *map(_shown, medians))


def _shown(milliseconds: float) -> str:
    """Return a cell. A gap that lasts to the end may be longer than was measured."""
    if milliseconds >= SECONDS * 1000:
        return f"over {SECONDS * 1000:,}"
    return f"{milliseconds:,.0f}"


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


def main() -> None:
    """Print the table, and write it with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/browser.md")
    wanted = parser.parse_args()
    table = ""
    for cells in rows():
        line = f"| {' | '.join(cells)} |"
        print(line, flush=True)
        table += f"{line}\n"
    if wanted.write:
        PAGE.write_text(between(PAGE.read_text(), MARKER, table))


if __name__ == "__main__":
    main()
