"""Clients of other projects read an answer, whose model is asked once."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.compat.table import compat
from tests.documented.samples import sample
from tests.foreign_clients.conftest import Site
from tests.foreign_clients.site import ANSWER
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
MODULES = HERE.parent / "node_modules"

#: Something that a client said: a status, an event, an error, or its end.
Said = list[Any]


@contextmanager
def listening(name: str, url: str, method: str = "GET") -> Iterator[Iterator[Said]]:
    """Run a client of npm; yield an iterator over the things that it says."""
    if shutil.which("node") is None:
        absent("node", remedy="install Node.js 18 or later")
    if not (MODULES / name.partition(",")[0]).is_dir():
        absent(name, remedy="run `npm ci` in tests")
    process = subprocess.Popen(
        ["node", HERE / "listen.mjs", name, url, method],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield map(json.loads, process.stdout)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def until(said: Iterator[Said], last: Said) -> list[Said]:
    """Return all that is said up to something, and that too."""
    heard = []
    for each in said:
        heard.append(each)
        assert each[0] != "error", heard
        if each == last:
            return heard
    raise AssertionError(heard)


def events(heard: list[Said]) -> list[tuple[str, Any]]:
    """Return the types and data of the events."""
    return [(each[1], each[2]) for each in heard if each[0] == "event"]


def statuses(heard: list[Said]) -> list[int]:
    return [each[1] for each in heard if each[0] == "status"]


def assert_whole(seen: list[tuple[str, Any]]) -> None:
    """Check the events of an answer that has come to its end."""
    *items, (end, data) = seen
    assert items == [("message", item) for item in ANSWER]
    assert end == "done"
    assert set(data) == {"id"}


@pytest.mark.live
@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param(
            *("eventsource-client", "POST"),
            marks=compat("eventsource-client", "gunicorn gevent", "a POST asks once"),
        ),
        ("eventsource-client", "GET"),
        pytest.param(
            *("event-source-plus", "POST"),
            marks=compat("event-source-plus", "gunicorn gevent", "a POST asks once"),
        ),
        ("event-source-plus", "GET"),
        pytest.param(
            *("eventsource", "GET"),
            marks=compat("eventsource", "gunicorn gevent", "an answer asks once"),
        ),
    ],
)
def test_a_client_that_comes_back_asks_no_model_again(
    name: str, method: str, site: Site
) -> None:
    """It takes the end for an interruption, and is told 204."""
    with listening(name, f"{site.url}/ask", method) as said:
        heard = until(said, ["status", 204])
    assert statuses(heard) == [200, 204]
    assert_whole(events(heard))
    assert site.json("/models")["asked"] == 1


@pytest.mark.live
@pytest.mark.parametrize(
    "name", ["@microsoft/fetch-event-source", "event-source-plus, on-error"]
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_client_that_knows_the_end_asks_once(
    name: str, method: str, site: Site
) -> None:
    """It receives exactly the events, over the greeting and the heartbeats."""
    with listening(name, f"{site.url}/ask", method) as said:
        heard = until(said, ["end"])
    assert statuses(heard) == [200]
    assert_whole(events(heard))
    assert site.json("/models")["asked"] == 1


@pytest.mark.live
@compat("@microsoft/fetch-event-source", "gunicorn gevent", "no empty messages")
@pytest.mark.parametrize("kind", ["gunicorn-gevent", "gunicorn-gevent-generator"])
def test_fetch_event_source_receives_the_events_of_a_hub(kind: str) -> None:
    """Nothing else is dispatched: not for a greeting, and not for a farewell."""
    with (
        Site(kind, heartbeat_interval=1.0) as site,
        listening("@microsoft/fetch-event-source", f"{site.url}/events") as said,
    ):
        site.connected()
        sent = [{"number": number} for number in range(3)]
        for data in sent:
            site.publish(data, type="note", user="alice")
        heard = [next(said) for _ in range(6)]
        site.signal(signal.SIGTERM)
        heard += until(said, ["end"])
    types = [type for type, _ in events(heard)]
    assert types[0] == "connected"
    assert set(types) == {"connected", "note", "ping"}
    assert [data for type, data in events(heard) if type == "note"] == sent
    assert {each[0] for each in heard} == {"status", "event", "end"}
    assert statuses(heard) == [200]


# In a browser

# The code that makes a client of the answer, by the package that it is in.
_FILES = {
    "native": None,
    "event-source-polyfill": "event-source-polyfill/src/eventsource.js",
    "reconnecting-eventsource": (
        "reconnecting-eventsource/dist/ReconnectingEventSource.min.js"
    ),
}
_CLASSES = {
    "native": "EventSource",
    "event-source-polyfill": "EventSourcePolyfill",
    "reconnecting-eventsource": "ReconnectingEventSource",
}

_LISTEN = """([name, closes]) => {
  window.heard = [];
  const source = new window[name]("/ask");
  const hear = ({type, data}) => heard.push([type, JSON.parse(data)]);
  source.addEventListener("message", hear);
  source.addEventListener("done", hear);
  if (closes) { %s }
}"""
_LISTEN %= sample("docs/chat.md", "js", with_='["done", "error"]')

Listen = Callable[..., "Page"]


@pytest.fixture
def listen(chromium: "Browser", site: Site) -> Iterator[Listen]:
    """Return a function that opens a page with a client of the answer."""
    context = chromium.new_context(base_url=site.url)

    def listen(name: str, statuses: list[int], *, closes: bool) -> "Page":
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto("/events/health/live")
        file = _FILES[name]
        if file is not None:
            if not (MODULES / file).is_file():
                absent(name, remedy="run `npm ci` in tests")
            page.add_script_tag(path=MODULES / file)
        page.on("response", lambda response: statuses.append(response.status))
        page.evaluate(_LISTEN, [_CLASSES[name], closes])
        page.wait_for_function("heard.at(-1)?.[0] === 'done'", polling=20)
        return page

    yield listen
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", _FILES)
def test_a_page_that_closes_at_the_end_asks_once(
    name: str, site: Site, listen: Listen
) -> None:
    """This is the pattern of the documentation, and works with each client."""
    statuses: list[int] = []
    page = listen(name, statuses, closes=True)
    assert_whole([(type, data) for type, data in page.evaluate("heard")])
    assert statuses == [200]
    assert site.json("/models")["asked"] == 1


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "times"),
    [("native", 1), ("event-source-polyfill", 1), ("reconnecting-eventsource", 2)],
)
def test_a_page_that_listens_to_the_end_asks_no_model_again(
    name: str, times: int, site: Site, listen: Listen
) -> None:
    """The client comes back with the id of the end, in a header or the query.

    reconnecting-eventsource comes back after a 204, too, with the last id of a type
    that the page listens to.
    """
    statuses: list[int] = []
    page = listen(name, statuses, closes=False)
    while statuses.count(204) < times:
        page.wait_for_event("response")
    assert statuses == [200, *[204] * times]
    assert_whole([(type, data) for type, data in page.evaluate("heard")])
    assert site.json("/models")["asked"] == 1
