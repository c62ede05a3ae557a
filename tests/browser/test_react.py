"""The React hooks in an app that is built by Vite, as in a user's project."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.front_end import run, serve
from tests.compat.table import compat
from tests.documented.chat import WORDS
from tests.foreign_clients.ai_site import FAIL, WAIT, WAIT_FOR_GO
from tests.kit.reader import DEADLINE, wait_until
from tests.live.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser

NEWS = "/events?channel=news"

# Compiled code and caches alone took a third of this. They stop growing after some
# hundred mounts.
MOST_BYTES_PER_MOUNT = 5_000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(retry=[0.1, 0.2]) as server:
        yield server


class App:
    """The app in its own tab."""

    def __init__(self, page: "Page", server: Server) -> None:
        self.page = page
        self.server = server
        #: The channel parameter of each stream that was requested.
        self.requests: list[str] = []
        page.on(
            "request",
            lambda request: (
                self.requests.append(request.url.split("?")[1].split("&")[0])
                if "/events?" in request.url
                else None
            ),
        )

    def show(self, what: str, *props: Any) -> None:
        """Make the page render a component."""
        self.page.evaluate("([what, props]) => page[what](...props)", [what, props])

    def inbox(self, url: str | None = NEWS, **props: Any) -> None:
        self.show("inbox", {"url": url, **props})

    def connected(self) -> dict[str, Any]:
        return self.until(lambda seen: seen["isConnected"])

    def seen(self) -> dict[str, Any]:
        """Return the values that the component shows."""
        found: dict[str, Any] = json.loads(self.page.text_content("output") or "")
        return found

    def frames(self) -> list[dict[str, Any]]:
        """Return all values that were shown so far, however briefly."""
        found: list[dict[str, Any]] = self.page.evaluate("page.frames")
        return found

    def until(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the shown values fulfil a condition; return them."""
        wait_until(lambda: is_so(self.seen()))
        return self.seen()

    def click(self, button: str) -> None:
        self.page.click(f"text={button}")

    def post(self, path: str) -> None:
        """Send a request with the page's cookies."""
        self.page.evaluate("(path) => fetch(path, {method: 'POST'})", path)

    def wait_for_connections(self, count: int) -> None:
        wait_until(lambda: self.server.stats()["connections"] == count)


OpenApp = Callable[[], App]


@pytest.fixture
def open_app(chromium: "Browser", server: Server, built: Path) -> Iterator[OpenApp]:
    """Return a function that opens the app in a new tab. No tab may have an error."""
    wait_until(lambda: server.stats()["connections"] == 0)
    context = chromium.new_context()
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))

    serve(context, built, path="/react/")
    context.request.post(f"{_url(server)}/login/alice")

    def open_app() -> App:
        app = App(context.new_page(), server)
        app.page.set_default_timeout(DEADLINE * 1000)
        app.page.goto(f"{_url(server)}/react/")
        app.page.wait_for_function("window.page")
        return app

    yield open_app
    context.close()
    assert not problems


@pytest.fixture
def app(open_app: OpenApp) -> App:
    return open_app()


def test_the_types_pass_a_strict_compiler(sources: Path) -> None:
    """They accept correct uses of the hooks, and refuse wrong ones."""
    run("../node_modules/.bin/tsc", cwd=sources)


def test_a_component_follows_its_stream(app: App, server: Server) -> None:
    """It has the state and the last event, and its handler receives the data."""
    app.inbox()
    seen = app.connected()
    assert (seen["state"], seen.get("last"), seen["heard"]) == ("open", None, [])
    server.publish("hello", channel="news")
    seen = app.until(lambda seen: seen["heard"])
    assert (seen["last"], seen["heard"]) == ("hello", ["hello"])


def test_a_strict_mount_connects_once(app: App, server: Server) -> None:
    """StrictMode mounts, unmounts and mounts again."""
    before = server.stats()["opened"]
    app.inbox()
    app.connected()
    assert len(app.requests) == 1
    assert server.stats()["opened"] - before == 1


def test_changed_handlers_need_no_reconnect(app: App, server: Server) -> None:
    """The newest handler is called, over the same connection."""
    for mark in "abc":
        app.inbox(mark=mark)
        app.connected()
    server.publish("1", channel="news")
    assert app.until(lambda seen: seen["heard"])["heard"] == ["c1"]
    assert len(app.requests) == 1


def test_another_url_is_another_stream(app: App, server: Server) -> None:
    """No event of the previous stream is shown any more."""
    app.inbox()
    app.connected()
    server.publish("old", channel="news")
    app.until(lambda seen: seen.get("last") == "old")
    app.inbox("/events?channel=alice")
    app.until(lambda _: len(app.requests) == 2)
    app.connected()
    server.publish("new", channel="alice")
    app.until(lambda seen: seen.get("last") == "new")
    shown = [frame for frame in app.frames() if frame["url"].endswith("alice")]
    assert not shown[0]["isConnected"]
    assert {frame.get("last") for frame in shown} == {None, "new"}
    assert app.requests == ["channel=news", "channel=alice"]
    app.wait_for_connections(1)


def test_an_unmount_closes_the_connection(app: App) -> None:
    """The server sees the connection end."""
    app.inbox()
    app.connected()
    app.wait_for_connections(1)
    app.show("nothing")
    app.wait_for_connections(0)


def test_no_url_opens_nothing(app: App) -> None:
    """The component connects when it has a URL, and disconnects without one."""
    app.inbox(None)
    seen = app.until(lambda _: True)
    assert (seen["isConnected"], seen["state"]) == (False, "closed")
    assert app.requests == []
    app.inbox()
    app.connected()
    app.inbox(None)
    app.until(lambda seen: seen["state"] == "closed")
    app.wait_for_connections(0)


def test_a_closed_stream_can_be_resumed(app: App, server: Server) -> None:
    """After reconnect(), it receives the events that it missed."""
    app.inbox()
    app.connected()
    app.click("close")
    seen = app.until(lambda seen: seen["state"] == "closed")
    assert seen.get("reason") is None
    app.wait_for_connections(0)
    server.publish("meanwhile", channel="news")
    app.click("reconnect")
    assert app.until(lambda seen: seen["heard"])["heard"] == ["meanwhile"]


def test_reconnect_makes_a_new_connection(app: App) -> None:
    """This also replaces a connection that is open."""
    app.inbox()
    app.connected()
    app.click("reconnect")
    app.until(lambda _: len(app.requests) == 2)
    app.connected()
    app.wait_for_connections(1)


def test_a_logout_is_reported_as_the_reason(app: App) -> None:
    """After a new login, reconnect() is enough."""
    app.inbox("/events?channel=alice")
    app.connected()
    app.post("/logout")
    seen = app.until(lambda seen: seen["state"] == "closed")
    assert (seen["reason"], seen["isConnected"]) == ("unauthorized", False)
    app.post("/login/alice")
    app.click("reconnect")
    app.connected()


@pytest.mark.parametrize("component", ["quiet", "quietDashboard"])
def test_an_end_that_a_component_does_not_show_is_in_the_console(
    app: App, component: str
) -> None:
    """The component has read neither the error nor the state."""
    with app.page.expect_console_message(
        lambda message: message.type == "warning"
    ) as warning:
        app.show(component, "/events?channel=typo")
    assert "403: the channel 'typo' is not open to you" in warning.value.text


def test_an_end_that_a_component_shows_is_not_in_the_console(app: App) -> None:
    """The component decides what its user reads."""
    warnings: list[str] = []
    app.page.on(
        "console",
        lambda message: (
            warnings.append(message.text) if message.type == "warning" else None
        ),
    )
    app.inbox("/events?channel=typo")
    seen = app.until(lambda seen: seen["state"] == "closed")
    assert seen["reason"] == "forbidden"
    assert warnings == []


def test_a_dashboard_shows_the_newest_state(app: App, server: Server) -> None:
    """It begins with the state that the page was rendered with."""
    app.show("dashboard", NEWS)
    seen = app.connected()
    assert (seen["total"], seen["isUpdated"]) == (1, False)
    for total in (2, 3):
        server.publish({"total": total}, channel="news", type="dashboardUpdate")
    assert app.until(lambda seen: seen["total"] == 3)["isUpdated"]


def test_a_dashboard_loads_its_state_after_a_reset(app: App) -> None:
    """The missed events are gone, so it loads the whole state."""
    app.show("dashboard", f"{NEWS}&last_event_id=lost-1")
    app.page.wait_for_function("!!page.answer")
    app.page.evaluate("page.answer({total: 7})")
    assert app.until(lambda seen: seen["total"] == 7)["isUpdated"]


def test_a_loaded_state_does_not_replace_a_newer_one(app: App, server: Server) -> None:
    """An event may arrive before the state that was requested after a reset."""
    app.show("dashboard", f"{NEWS}&last_event_id=lost-1")
    app.page.wait_for_function("!!page.answer")
    server.publish({"total": 2}, channel="news", type="dashboardUpdate")
    app.until(lambda seen: seen["total"] == 2)
    app.page.evaluate("page.answer({total: 7})")
    server.publish({"total": 3}, channel="news", type="dashboardUpdate")
    app.until(lambda seen: seen["total"] == 3)
    assert 7 not in [frame["total"] for frame in app.frames()]


def test_components_of_all_tabs_share_one_connection(
    open_app: OpenApp, server: Server
) -> None:
    """Each component receives the events."""
    apps = [open_app(), open_app()]
    for app in apps:
        app.inbox(shared=True)
        app.connected()
    server.publish("to all", channel="news")
    for app in apps:
        app.until(lambda seen: seen["heard"] == ["to all"])
    assert server.stats()["connections"] == 1


def test_the_component_in_the_documentation_shows_events(
    app: App, server: Server
) -> None:
    """After a logout, it shows a link to the login."""
    app.page.goto(f"{_url(server)}/react/documented.html")
    app.page.locator("ul[data-live=true]").wait_for(state="attached")
    server.publish({"text": "hello"}, type="notification", user="alice")
    app.page.locator("li", has_text="hello").wait_for()
    app.post("/logout")
    app.page.locator("a[href='/login']").wait_for()


def test_mounts_leave_nothing_behind(app: App) -> None:
    """After many mounts, no connection, listener, node or memory is left."""
    found = []
    for times in (50, 100):
        app.show("mount", times, {"url": NEWS})
        app.wait_for_connections(0)
        found.append(_metrics(app.page))
    first, last = found
    assert last["JSEventListeners"] <= first["JSEventListeners"]
    assert last["Nodes"] <= first["Nodes"]
    grown = last["JSHeapUsedSize"] - first["JSHeapUsedSize"]
    assert grown < 100 * MOST_BYTES_PER_MOUNT


def _metrics(page: "Page") -> dict[str, float]:
    """Return the browser's metrics of a page, after a garbage collection."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    return {each["name"]: each["value"] for each in metrics}


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def chat_server() -> Iterator[Server]:
    with Server(site="tests.foreign_clients.ai_site") as server:
        yield server


class Chat:
    """A page with the AI SDK's useChat."""

    def __init__(self, context: "BrowserContext", server: Server, path: str) -> None:
        self._page = context.new_page()
        self._page.goto(f"{_url(server)}/react/{path}")

    def until(self, status: str, said: list[str]) -> dict[str, Any]:
        """Wait for a status and for the text of the last message."""

        def seen() -> dict[str, Any]:
            return dict(json.loads(self._page.text_content("output") or ""))

        def is_so() -> bool:
            shown = seen()
            return (shown["status"], shown["said"][-1:]) == (status, [said])

        wait_until(is_so)
        return seen()

    def ask(self, question: str) -> None:
        self._page.evaluate("(hash) => { location.hash = hash; }", question)
        self._page.click("text=ask")

    def stop(self) -> None:
        self._page.click("text=stop")

    def reload(self) -> None:
        self._page.reload()


_WHOLE = ["assistant", "".join(WORDS)]
_BEGUN = ["assistant", WORDS[0]]


@compat("@ai-sdk/react", "gunicorn gevent", 'useChat, with protocol="ai-sdk"')
def test_use_chat_shows_an_answer_and_its_failure(
    chromium: "Browser", built: Path, chat_server: Server
) -> None:
    """A page needs no settings. A person may stop an answer, and ask again."""
    context = chromium.new_context()
    serve(context, built, path="/react/")
    chat = Chat(context, chat_server, "chat.html#hello")
    before = chat_server.json("/counts")
    chat.ask("hello")
    assert chat.until("ready", _WHOLE)["said"] == [["user", "hello"], _WHOLE]
    chat.ask(WAIT)
    chat.until("streaming", _BEGUN)
    chat.stop()
    chat.until("ready", _BEGUN)
    asked = {name: count + 2 for name, count in before.items()}
    wait_until(lambda: chat_server.json("/counts") == asked)
    chat.ask(FAIL)
    failed = chat.until("error", _BEGUN)
    assert failed["error"].startswith("the stream ended by an error (end-")
    chat.ask("again")
    chat.until("ready", _WHOLE)
    context.close()


@compat("@ai-sdk/react", "gunicorn gevent", "useChat with resume: true")
@pytest.mark.parametrize("version", ["chat", "chat5"])
def test_use_chat_resumes_after_a_reload(
    chromium: "Browser", built: Path, chat_server: Server, version: str
) -> None:
    """It shows the text so far and the rest, and the model is asked once."""
    context = chromium.new_context()
    serve(context, built, path="/react/")
    chat = Chat(context, chat_server, f"{version}.html?resume={version}")
    before = chat_server.json("/counts")["begun"]
    chat.ask(WAIT_FOR_GO)
    chat.until("streaming", _BEGUN)
    chat.reload()
    chat.until("streaming", _BEGUN)
    chat_server.request("POST", "/go")
    chat.until("ready", _WHOLE)
    assert chat_server.json("/counts")["begun"] == before + 1
    context.close()
