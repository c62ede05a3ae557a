"""The contract of the browser client, in each engine that people have.

`make engines` runs it, and writes the table of docs/browser.md from its results.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from flask_sse_hub import SSEHub
from tests.browser.engines import Chromium, Engine, Firefox
from tests.browser.front_end import link_packages, run
from tests.browser.proxy import Proxy
from tests.browser.tabs import Numbers, Tab, Visitor
from tests.documented.samples import sample
from tests.kit.demo import Demo
from tests.kit.ports import HOST
from tests.kit.reader import wait_until
from tests.live.server import Server, asleep

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


@contextmanager
def publisher(server: Server) -> Iterator[Numbers]:
    """Publish without the server, like other processes of the app."""
    app = Flask("office")
    app.config["SECRET_KEY"] = "for nothing"
    app.config["SSE_HUB_BROKER_URL"] = f"sqlite:///{server.folder}/hub.db"
    hub = SSEHub(app)
    yield Numbers(hub.publish)
    app.extensions["sse_hub"].hub.close()


def test_a_killed_server_is_waited_for(server: Server, tabs: list[Tab]) -> None:
    """Clients receive the events that were published while it was down."""
    with publisher(server) as numbers:
        numbers.publish(3)
        numbers.all_arrived(*tabs, since=-1)
        server.kill()
        wait_for_error(tabs, "network")
        numbers.publish(3)
        server.restart()
        numbers.publish(3)
        numbers.all_arrived(*tabs, since=-1)


def test_lost_history_causes_one_reset(
    server: Server, tabs: list[Tab], numbers: Numbers
) -> None:
    """Each tab receives one reset event, and the streams continue."""
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    # The main file last: a worker makes a new one at once, with the same other files.
    for each in sorted(server.folder.glob("hub.db*"), reverse=True):
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
    # The header makes these tabs a group of their own.
    visitor, own = Visitor(visitor.context, visitor.port), {"X-Own": "leaders"}
    tabs = visitor.shared(3, headers=own)
    client_id = tabs[0].get("stream.clientId")
    with numbers.published_meanwhile():
        for _ in range(3):
            visitor.close(visitor.leader())
            visitor.shared(headers=own)
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
    """No tab shows an interruption or misses an event, the leader's included."""
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
    engine: Engine,
    visitor: Visitor,
    tabs: list[Tab],
    numbers: Numbers,
    record_property: Callable[[str, object], None],
) -> None:
    """It is the same page, or it is loaded again. Either way its stream is live."""
    for tab in tabs:
        tab.get("window.isTheSame = true")
        tab.page.goto(f"{visitor.origin}/page")
    kept = set()
    for tab in tabs:
        tab.page.go_back()
        tab.live()
        kept.add(bool(tab.get("window.isTheSame")))
        tab.page.go_forward()
        tab.page.go_back()
        tab.live()
    numbers.publish(3)
    numbers.all_arrived(*tabs)
    # The cache of Chromium has a test of its own: the headless shell has none.
    if engine.name != "chromium":
        shown = "the same page" if kept == {True} else "loaded again"
        record_property("shows", shown)


def test_a_machine_that_sleeps(
    engine: Engine, server: Server, proxy: Proxy, tabs: list[Tab], numbers: Numbers
) -> None:
    """Its connections are dead when it wakes up. No event of the night is lost."""
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    clock = server.stream("/events?channel=news")
    with asleep(*engine.pids()):
        proxy.swallow()
        numbers.publish(3)
        for _ in range(3):
            clock.next("ping")
    clock.close()
    wait_for_error(tabs, "silent")
    numbers.all_arrived(*tabs, since=-1)


def test_the_react_app(
    server: Server, visitor: Visitor, built: Path, numbers: Numbers
) -> None:
    """A component connects once under StrictMode, resumes, and shows a logout."""
    if not (server.folder / "react").exists():
        shutil.copytree(built, server.folder / "react")
    visitor = Visitor(visitor.context, visitor.port)
    visitor.login("alice")
    tab = visitor.load("/react/index.html")
    tab.wait_for("window.page")
    tab.get("page.inbox({ url: '/events?channel=news', shared: true })")
    shown = "JSON.parse(document.querySelector('output')?.textContent || '{}')"
    tab.wait_for(f"{shown}.isConnected")
    server.publish("one", channel="news")
    tab.wait_for(f"{shown}.heard.length === 1")
    server.request("POST", "/disconnect/alice")
    server.publish("two", channel="news")
    tab.wait_for(f"{shown}.heard.length === 2")
    assert tab.get(f"{shown}.heard") == ["one", "two"]
    visitor.logout()
    tab.wait_for(f"{shown}.reason === 'unauthorized'")
    visitor.close(tab)
    visitor.login("alice")


@pytest.mark.parametrize("kind", ["worker", "shared worker", "service worker"])
def test_a_stream_in_a_worker(kind: str, visitor: Visitor, numbers: Numbers) -> None:
    """Its address is relative to the worker's script."""
    tab = visitor.load("/tab")
    tab.get(_WORK, kind)
    tab.wait_for("told.some(([state]) => state === 'open')")
    numbers.publish(2)
    tab.wait_for("told.includes(1)")
    assert tab.get("told.filter(Number.isInteger)") == [0, 1]
    tab.get(_UNREGISTER)
    visitor.close(tab)


_WORK = """async (kind) => {
  const script = "/workers/stream.js";
  const options = { type: "module" };
  let worker;
  if (kind === "worker") worker = new Worker(script, options);
  else if (kind === "shared worker") worker = new SharedWorker(script, options).port;
  else {
    const { port1, port2 } = new MessageChannel();
    const { installing } = await navigator.serviceWorker.register(script, options);
    installing.postMessage(null, [port2]);
    worker = port1;
  }
  window.told = [];
  worker.onmessage = ({ data }) => told.push(data);
}"""


# The service worker of the documentation, with the packages of Workbox.
_WORKBOX = sample("docs/browser.md", "js", with_="registerRoute")
_STARTS_AT_ONCE = """
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
"""


@pytest.fixture(scope="session")
def workbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built service worker with Workbox."""
    folder = tmp_path_factory.mktemp("workbox") / "sources"
    folder.mkdir()
    link_packages(folder)
    (folder / "worker.js").write_text(_WORKBOX + _STARTS_AT_ONCE)
    esbuild = "../node_modules/.bin/esbuild"
    built = folder / "workbox.js"
    run(
        *(esbuild, "worker.js", "--bundle", "--minify", f"--outfile={built}"),
        cwd=folder,
    )
    return built


@pytest.mark.parametrize("kind", ["passing", "answering", "workbox"])
def test_a_service_worker(
    kind: str,
    engine: Engine,
    visitor: Visitor,
    numbers: Numbers,
    server: Server,
    workbox: Path,
) -> None:
    """No event is lost where it answers streams, and none is cut where it does not."""
    (server.folder / "workers").mkdir(exist_ok=True)
    shutil.copy(workbox, server.folder / "workers")
    if isinstance(engine, Firefox):
        # It ends service workers after half a minute, and what they answer.
        for name in ("idle_timeout", "idle_extended_timeout"):
            engine.prefer(f"dom.serviceWorkers.{name}", 1000)
    tab = visitor.load("/tab")
    tab.get(_REGISTER, f"/workers/{kind}.js")
    tab.page.goto(f"{visitor.origin}/tab?channel=news#{{}}")
    assert tab.get("navigator.serviceWorker.controller.scriptURL").endswith(
        f"{kind}.js"
    )
    tab.get(_WARN)
    tab.live()
    if kind == "workbox":
        # Its strategy has answered other requests.
        wait_until(lambda: tab.get("caches.keys()"))
    if kind == "answering" and isinstance(engine, Firefox):
        tab.wait_for("states.some(([, reason]) => reason === 'network')")
        assert "service worker" in tab.get("warnings.join()")
    else:
        clock = server.stream("/events?channel=news")
        for _ in range(3):
            clock.next("ping")
        clock.close()
        assert "network" not in str(tab.states)
    numbers.publish(3)
    numbers.all_arrived(tab, since=-1)
    tab.get(_UNREGISTER)
    visitor.close(tab)


_REGISTER = """async (script) => {
  await navigator.serviceWorker.register(script, { scope: "/" });
  await navigator.serviceWorker.ready;
  while (!navigator.serviceWorker.controller)
    await new Promise((resolve) => setTimeout(resolve, 20));
}"""

_UNREGISTER = """async () => {
  for (const each of await navigator.serviceWorker.getRegistrations())
    await each.unregister();
}"""

_WARN = """() => {
  window.warnings = [];
  console.warn = (text) => warnings.push(text);
}"""


@pytest.mark.parametrize("demo", ["auto"], ids=["socket"], indirect=True)
def test_the_pages_of_the_demo(engine: Engine, demo: Demo) -> None:
    """Each is connected, and shows an event that another page causes."""
    profile = engine.new_context()
    page = profile.new_page()
    page.goto(f"{demo.url}/login?next=/sse-demo")
    page.evaluate(_SIGN_IN)
    page.wait_for_function("() => location.pathname === '/sse-demo'")
    for path in ("/", "/sse-demo", "/dashboard", "/chat", "/import"):
        page.goto(f"{demo.url}{path}")
        page.evaluate(_OPENED)
        page.evaluate("fetch('/trigger', { method: 'POST' }).then(({ ok }) => ok)")
        page.wait_for_function("() => document.querySelector('#toasts .toast')")
    profile.close()


def test_a_page_of_another_origin(
    server: Server,
    proxy: Proxy,
    visitor: Visitor,
    numbers: Numbers,
    record_property: Callable[[str, object], None],
) -> None:
    """It resumes. Some engines keep no preflight of a request that uses no cache."""
    body = {"user": "alice", "channels": ["news"]}
    _, ticket, _ = server.request("POST", "/ticket", body=body)
    target = f"/events?channel=news&ticket={ticket.decode()}"
    tab = Tab(visitor.context.new_page())
    tab.page.goto(f"http://localhost:{server.port}/tab")
    tab.get("(url) => listen({}, url)", f"http://{HOST}:{proxy.port}{target}")
    tab.live()
    for _ in range(3):
        numbers.publish(3)
        numbers.all_arrived(tab, since=-1)
        proxy.cut()
    tab.page.close()
    asked = [
        each.partition("?")[0] for each in proxy.requests if ticket.decode() in each
    ]
    preflights, streams = map(asked.count, ("OPTIONS /events", "GET /events"))
    assert preflights > 0
    kept = "kept" if preflights < streams else "sent each time"
    record_property("shows", f"yes, preflights are {kept}")


_SIGN_IN = """() => {
  document.querySelector("#name").value = "alice";
  document.querySelector("#password").value = "demo";
  setTimeout(() => document.querySelector("#sign-in").click());
}"""

_OPENED = """async () => {
  const { stream } = await import("/static/js/page.js");
  while (stream.state !== "open")
    await new Promise((resolve) => setTimeout(resolve, 20));
}"""


def test_a_private_window(
    engine: Engine, server: Server, proxy: Proxy, numbers: Numbers
) -> None:
    """Its tabs share a connection, and resume."""
    visitor = Visitor(engine.new_private_context(), proxy.port)
    visitor.login("alice")
    # In a group of their own, since WebKit's pages are all in such windows.
    tabs = visitor.shared(2, headers={"X-Own": "private"})
    assert sorted(tab.role for tab in tabs) == ["follower", "leader"]
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    proxy.cut()
    numbers.publish(3)
    numbers.all_arrived(*tabs, since=-1)
    visitor.context.close()


def test_a_content_blocker(engine: Engine, server: Server, numbers: Numbers) -> None:
    """A blocked stream looks like an outage to the page, and opens when it may."""
    visitor = Visitor(engine.new_context(), server.port)
    visitor.login("alice")
    with engine.content_blocker(visitor.context):
        tabs = [visitor.tab("alice"), visitor.tab("alice", shared=True)]
        wait_for_error(tabs, "network")
        # A tab that shared its connection would wait too.
        other = visitor.tab("news").live()
        numbers.publish(3)
        numbers.all_arrived(other)
        for tab in tabs:
            assert {state for state, _ in tab.states} == {"reconnecting"}
            assert tab.errors == []
    # The content blocker of WebKit cannot be switched off.
    if engine.name != "webkit":
        for tab in tabs:
            tab.live()
    visitor.context.close()


@pytest.mark.parametrize("engine", ["chromium", "firefox"], indirect=True)
def test_blocked_site_data(engine: Chromium | Firefox, server: Server) -> None:
    """Each tab connects by itself, and says why. No cookie is kept, so no login."""
    with engine.without_site_data() as context:
        tab = Visitor(context, server.port).load("/tab")
        tab.get(_WITH_TICKET)
        tab.live()
        assert tab.role == "alone"
        # Chromium refuses locks, and Firefox broadcast channels.
        problem = tab.get("stream.sharing.problem")
        assert "denied" in problem or "insecure" in problem
        assert tab.errors == []


_WITH_TICKET = """() => listen({
  shared: true,
  userId: "alice",
  ticket: () => fetch("/ticket", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ user: "alice" }),
  }).then((response) => response.text()),
})"""
