"""The contract of the browser client, in each engine that people have.

`make engines` runs it, and writes the table of docs/browser.md from its results.
"""

import time
from collections.abc import Iterator

import pytest

from tests.browser.engines import Engine
from tests.browser.proxy import Proxy
from tests.browser.tabs import Numbers, Tab, Visitor
from tests.kit.reader import wait_until
from tests.live.server import Server

pytestmark = pytest.mark.browser


@pytest.fixture
def numbers(server: Server) -> Numbers:
    return Numbers(server.publish)


@pytest.fixture(scope="module")
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def visitor(engine: Engine, proxy: Proxy) -> Iterator[Visitor]:
    """One visitor of each engine: a page costs a browser more than a test."""
    visitor = Visitor(engine.new_context(), proxy.port)
    visitor.login("alice")
    yield visitor
    visitor.context.close()


@pytest.fixture(scope="module")
def opened(visitor: Visitor) -> list[Tab]:
    """A tab with its own stream, and two tabs that share one."""
    return [visitor.tab("news"), *visitor.shared(2)]


@pytest.fixture
def tabs(opened: list[Tab]) -> list[Tab]:
    """The same tabs, as if nothing had come so far."""
    for tab in opened:
        tab.live()
        tab.get("[seen, states, resets].forEach((list) => { list.length = 0; })")
    return opened


def wait_for_error(tabs: list[Tab], reason: str) -> None:
    for tab in tabs:
        tab.wait_for(f"states.some(([, reason]) => reason === '{reason}')")


def test_connect_and_resume(server: Server, tabs: list[Tab], numbers: Numbers) -> None:
    """A dropped stream resumes, and has each event once."""
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    for _ in range(3):
        server.request("POST", "/disconnect/alice")
        numbers.publish(3)
        numbers.all_arrived(*tabs, since=-1)


def test_a_killed_server_is_waited_for(
    server: Server, tabs: list[Tab], numbers: Numbers
) -> None:
    """After the restart each event comes once."""
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    server.kill()
    wait_for_error(tabs, "network")
    server.restart()
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)


def test_lost_history_causes_one_reset(
    server: Server, tabs: list[Tab], numbers: Numbers
) -> None:
    """Each tab receives one reset event, and the streams continue."""
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    for each in server.folder.glob("hub.db*"):
        if each.is_file():
            each.unlink()
    for tab in tabs:
        tab.wait_for("resets.length")
        tab.live()
    numbers.publish(3)
    for tab in tabs:
        tab.wait_for("seen.some(({data}) => data === 5)")
        assert tab.numbers == [0, 1, 2, 3, 4, 5]
        assert tab.get("resets") == ["epoch"]


def test_a_logout_ends_the_streams_of_all_tabs(
    visitor: Visitor, tabs: list[Tab], server: Server
) -> None:
    """A login in a new tab brings back those that share; none has missed an event."""
    numbers = Numbers(server.publish, user="alice")
    alone = tabs[0]
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    visitor.logout()
    for tab in tabs:
        tab.wait_for_closed("unauthorized")
    visitor.login("alice")
    numbers.publish(3)
    (late,) = visitor.shared()
    alone.get("stream.reconnect()")
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    numbers.all_arrived(late)
    visitor.close(late)


def test_a_connection_that_died_silently_is_noticed(
    proxy: Proxy, tabs: list[Tab], numbers: Numbers
) -> None:
    """The connection is still open, but no heartbeat arrives."""
    proxy.swallow()
    numbers.publish(3)
    wait_for_error(tabs, "silent")
    numbers.all_arrived(*tabs, since=-1)


@pytest.mark.parametrize(
    ("status", "header", "reason"),
    [
        ("503 Service Unavailable", "Retry-After: 1", "unavailable"),
        ("429 Too Many Requests", "X-Nothing: said", "busy"),
    ],
)
def test_a_refusal_that_passes_is_waited_for(
    proxy: Proxy,
    tabs: list[Tab],
    numbers: Numbers,
    status: str,
    header: str,
    reason: str,
) -> None:
    """The client tries again until the answer is a stream."""
    proxy.refuse(status, header)
    wait_for_error(tabs, reason)
    numbers.publish(3)
    proxy.answer = None
    numbers.all_arrived(*tabs, since=-1)


def test_leaders_that_leave_lose_nothing(visitor: Visitor, numbers: Numbers) -> None:
    """The next leader connects as the same client. Each tab has each event once."""
    # The channels make these tabs a group of their own.
    visitor = Visitor(visitor.context, visitor.port)
    tabs = visitor.shared(3, "news", "sport")
    client_id = tabs[0].get("stream.clientId")
    with numbers.published_meanwhile():
        for _ in range(3):
            visitor.close(visitor.leader())
            visitor.shared(1, "news", "sport")
    numbers.all_arrived(*visitor.tabs)
    assert {tab.get("stream.clientId") for tab in visitor.tabs} == {client_id}
    for tab in [*visitor.tabs]:
        visitor.close(tab)


_CLICK = """(url) => {
  const link = Object.assign(document.createElement("a"), { href: url });
  link.download = url.startsWith(location.origin) ? "" : "export";
  if (!link.download) link.removeAttribute("download");
  document.body.append(link);
  link.click();
}"""

_SUBMIT = """(url) => {
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", action: url });
  document.body.append(form);
  form.submit();
}"""

#: Navigations after which the page is still there.
STAYING = {
    "a link to a download": (_CLICK, "/export"),
    "a link to a slow export": (_CLICK, "/export?seconds=1"),
    "a link to a download of another origin": (
        _CLICK,
        "http://localhost:{port}/export",
    ),
    "a form that is answered by a download": (_SUBMIT, "/export"),
    "a form that is answered by nothing": (_SUBMIT, "/export?empty=1"),
}


def test_navigations_that_do_not_leave_the_page(
    proxy: Proxy, visitor: Visitor, tabs: list[Tab], numbers: Numbers
) -> None:
    """No tab shows an interruption or misses an event, whoever holds the connection."""
    alone = tabs[0]
    numbers.publish()
    numbers.all_arrived(*tabs, since=-1)
    with numbers.published_meanwhile():
        for leaving in (alone, visitor.leader()):
            for way, url in STAYING.values():
                target = url.format(port=proxy.port)
                if target.startswith("/"):
                    target = visitor.origin + target
                leaving.get(way, target)
                if "seconds" in url:
                    time.sleep(1)
                leaving.wait_for(f"stream.lastEvent.data > {len(numbers.ids) + 10}")
    numbers.all_arrived(*tabs, since=-1)
    for tab in tabs:
        assert tab.states == []


def test_a_page_that_is_left_leaves_no_connection(
    server: Server, visitor: Visitor, tabs: list[Tab], numbers: Numbers
) -> None:
    """This includes a connection that has survived the beginning of a navigation."""
    goes, closes = [visitor.tab("news").live() for _ in range(2)]
    before = server.connections()
    for tab in (goes, closes):
        tab.get(_CLICK, f"{visitor.origin}/export")
    numbers.publish()
    numbers.all_arrived(goes, closes, *tabs, since=-1)
    goes.page.goto(f"{visitor.origin}/page")
    visitor.close(closes)
    wait_until(lambda: server.connections() == before - 2)
    visitor.close(goes)


def test_a_page_continues_after_the_back_button(
    visitor: Visitor, tabs: list[Tab], numbers: Numbers
) -> None:
    """It is the same page, or it is loaded again. Either way its stream is live."""
    for tab in tabs:
        tab.page.goto(f"{visitor.origin}/page")
    for tab in tabs:
        tab.page.go_back()
        tab.live()
    numbers.publish(3)
    numbers.all_arrived(*tabs)
