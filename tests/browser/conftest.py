"""The example app under gunicorn, as `make run` starts it, and browsers for it.

And the live site, with visitors who have many tabs.
"""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.browser.tabs import QUICK as QUICK_SITE
from tests.browser.tabs import Visitor
from tests.live.server import Server
from tests.ports import HOST, free_port
from tests.reader import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

ROOT = Path(__file__).parents[2]


class Demo:
    """The running example app."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log_path = folder / "log"
        settings.setdefault("sse_hub_broker_url", f"sqlite:///{folder}/sse_hub.db")
        with self.log_path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn"],
                cwd=ROOT,
                env=os.environ
                | {"PORT": str(self.port), "FLASK_DEMO": "true"}
                | {f"FLASK_{key.upper()}": value for key, value in settings.items()},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(self._answers, within=30.0)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log_path.read_text()
        try:
            return self.request("GET", "/health")[0] == 200
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10.0)
        try:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def lose_history(self) -> None:
        """Delete the log under the running workers."""
        for each in self.log_path.parent.glob("sse_hub.db*"):
            if each.is_file():
                each.unlink()

    def kill_workers(self) -> None:
        """End the workers as the kernel does when memory is short."""
        for worker in psutil.Process(self.process.pid).children():
            worker.kill()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15.0)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5.0)


OpenPage = Callable[..., "Page"]
SignIn = Callable[..., "Page"]
MakeVisitor = Callable[..., Visitor]

# Quick, so that the tests need not wait for what a browser does after seconds.
QUICK: dict[str, Any] = {
    "sse_hub_retry": "[0.2, 0.4]",
    "sse_hub_heartbeat_interval": "2",
}


@pytest.fixture(scope="session", params=["auto", "false"], ids=["socket", "generator"])
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demo]:
    """The example app as it comes, with two workers and an SQLite file of its own.

    Its streams leave by their own sockets, and then by generator.
    """
    folder = tmp_path_factory.mktemp("demo")
    started = Demo(folder, sse_hub_hijack=request.param, **QUICK)
    yield started
    started.stop()


@pytest.fixture
def open_page(chromium: "Browser", demo: Demo) -> Iterator[OpenPage]:
    """Return what opens a page of the demo in a browser of its own."""
    # At the end none of its tabs may have had an error, or broken its policy.
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
        context.set_default_timeout(10_000)
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
    """Return what opens a page of the demo as a user, in a browser of its own."""

    def sign_in(user: str, path: str = "/sse-demo", **looks: Any) -> "Page":
        page = open_page(f"/login?next={path}", **looks)
        fill_in(page, user)
        page.wait_for_url(demo.url + path)
        return page

    return sign_in


def fill_in(page: "Page", user: str) -> None:
    """Sign in on the page that asks for it."""
    page.fill("#name", user)
    page.fill("#password", "demo")
    page.click("#sign-in")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The live site with two workers, between which streams are spread."""
    with Server(args="--workers 2", **QUICK_SITE) as server:
        yield server


@pytest.fixture
def make_visitor(chromium: "Browser", server: Server) -> Iterator[MakeVisitor]:
    """Return what opens a browser of a visitor; a port may be that of a proxy."""
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
