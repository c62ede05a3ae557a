"""Fixtures: the example app and the live site under gunicorn, and browsers for both.

The example app is started as `make run` does. Visitors of the live site have many tabs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.built_app import build, write_sources
from tests.browser.engines import ENGINES, Chromium, Engine, Firefox, WebKit
from tests.browser.tabs import QUICK as QUICK_SITE
from tests.browser.tabs import Visitor
from tests.kit.demo import Demo
from tests.kit.reader import DEADLINE
from tests.live.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

ROOT = Path(__file__).parents[2]

OpenPage = Callable[..., "Page"]
SignIn = Callable[..., "Page"]
MakeVisitor = Callable[..., Visitor]

# Short times, so that tests need not wait for actions that a browser delays by seconds.
QUICK: dict[str, Any] = {
    "sse_hub_retry": "[0.2, 0.4]",
    "sse_hub_heartbeat_interval": "2",
    "sse_hub_presence_grace": "1",
    "chat_pace": "0.03",
    "import_max_bytes": "1048576",
}


@pytest.fixture(scope="session", params=["auto", "false"], ids=["socket", "generator"])
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demo]:
    """The example app with its defaults: two workers and its own SQLite file.

    It runs once with streams over taken-over sockets, and once with streams by
    generator.
    """
    folder = tmp_path_factory.mktemp("demo")
    started = Demo(folder, sse_hub_socket_takeover=request.param, **QUICK)
    yield started
    started.close()


@pytest.fixture
def open_page(chromium: "Browser", demo: Demo) -> Iterator[OpenPage]:
    """Return a function that opens a page of the demo in a new browser."""
    # At the end, no tab may have had an error or violated its content security policy.
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def note(message: "ConsoleMessage") -> None:
        if "Content Security Policy" in message.text:
            problems.append(message.text)

    def open_page(path: str, *, width: int = 1280, scheme: Any = "light") -> "Page":
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        contexts.append(context)
        context.set_default_timeout(DEADLINE * 1000)
        context.on("weberror", lambda error: problems.append(str(error.error)))
        context.on("console", note)
        page = context.new_page()
        page.goto(demo.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture
def sign_in(open_page: OpenPage, demo: Demo) -> SignIn:
    """Return a function that opens a page of the demo as a user, in a new browser."""

    def sign_in(user: str, path: str = "/sse-demo", **looks: Any) -> "Page":
        page = open_page(f"/login?next={path}", **looks)
        fill_in(page, user)
        page.wait_for_url(demo.url + path)
        return page

    return sign_in


def fill_in(page: "Page", user: str) -> None:
    """Fill in and submit the login form."""
    page.fill("#name", user)
    page.fill("#password", "demo")
    page.click("#sign-in")


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine in turn: one browser process for all tests of a run."""
    started: Engine
    makers: dict[str, Callable[[], Engine]] = {"firefox": Firefox, "webkit": WebKit}
    if request.param in makers:
        started = makers[request.param]()
    else:
        started = Chromium(request.getfixturevalue("chromium"))
    yield started
    CPU_SECONDS[started.name] = started.cpu_seconds()
    started.close()


#: The time that each engine's processes have computed in this run.
CPU_SECONDS: dict[str, float] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the time of each engine: the tests' own time does not contain it."""
    for name, seconds in CPU_SECONDS.items():
        terminalreporter.write_line(f"{name}: {seconds:.0f} s of CPU time")


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the React app."""
    folder = tmp_path_factory.mktemp("react") / "app"
    write_sources(folder)
    return folder


@pytest.fixture(scope="session")
def built(sources: Path) -> Path:
    """The folder of the built React app."""
    return build(sources)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The live site with two workers, over which streams are spread."""
    with Server(args="--workers 2", **QUICK_SITE) as server:
        yield server


@pytest.fixture
def make_visitor(chromium: "Browser", server: Server) -> Iterator[MakeVisitor]:
    """Return a function that opens a visitor's browser; the port may be a proxy's."""
    made: list[Visitor] = []

    def make(user: str | None = "alice", *, port: int = server.port) -> Visitor:
        visitor = Visitor(chromium.new_context(), port)
        made.append(visitor)
        if user is not None:
            visitor.login(user)
        return visitor

    yield make
    for visitor in made:
        visitor.context.close()
