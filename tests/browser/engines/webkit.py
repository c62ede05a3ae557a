"""Safari's engine: WebKitGTK's small browser, on a screen of its own."""

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.browser.engines.base import (
    BLOCKED,
    DrivenPage,
    Left,
    cpu_seconds,
    descendants,
)
from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE, wait_until
from tests.wire.real_parts import absent

_BROWSER = "webkit2gtk-4.*/MiniBrowser"

# A script gets no answer if its page is left meanwhile. No other one takes so long.
_SCRIPT_SECONDS = 5.0


class NoSession(Exception):
    """Raised when the browser that the driver has started does not answer it."""


class WebKit:
    """A MiniBrowser, which has a window for each page."""

    name = "webkit"

    def __init__(self) -> None:
        for program in ("WebKitWebDriver", "Xvfb"):
            if shutil.which(program) is None:
                absent(program, remedy="install webkit2gtk-driver and xvfb")
        self._exit = contextlib.ExitStack()
        folder = self._exit.enter_context(
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        )
        self._port = free_port()
        environ = {
            "DISPLAY": self._screen(),
            # Everything that the browser keeps is in this folder.
            "HOME": folder,
            "XDG_RUNTIME_DIR": folder,
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        self._driver = self._start(
            ["WebKitWebDriver", f"--port={self._port}"], env=os.environ | environ
        )
        wait_until(self._answers)
        # In the format of Safari's content blockers. The browser reads it at its start.
        blocker = Path(folder, "blocker.json")
        trigger = {"url-filter": re.escape(BLOCKED)}
        blocker.write_text(
            json.dumps([{"trigger": trigger, "action": {"type": "block"}}])
        )
        args = ["--automation", f"--content-filter={blocker}"]
        options = {"binary": str(_browser()), "args": args}
        wanted = {
            "pageLoadStrategy": "none",
            "webkitgtk:browserOptions": options,
        }
        session = self._session({"capabilities": {"alwaysMatch": wanted}})
        self._path = f"/session/{session['sessionId']}"
        self._exit.callback(lambda: self.ask("DELETE", self._path))
        self.version = str(session["capabilities"]["browserVersion"])
        # The browser would end with its last window.
        self._first = self.command("GET", "/window")
        self._current = self._first

    def _start(self, words: list[str], **how: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how
        )
        self._exit.callback(process.wait, DEADLINE)
        self._exit.callback(process.terminate)
        return process

    def _screen(self) -> str:
        """Start a screen, which chooses its number, and return its name."""
        told, tells = os.pipe()
        size = ("-screen", "0", "1280x900x24")
        words = ["Xvfb", "-displayfd", str(tells), *size, "-nolisten", "tcp"]
        self._xvfb = self._start(words, pass_fds=[tells])
        os.close(tells)
        with os.fdopen(told) as number:
            return f":{number.readline().strip()}"

    def _session(self, wanted: Any) -> Any:
        """Begin a session and return it.

        A browser that still compiles its content blocker may miss the driver's request.
        """
        begun: list[Any] = []

        def begin() -> bool:
            with contextlib.suppress(NoSession):
                begun.append(self.ask("POST", "/session", wanted))
            return bool(begun)

        wait_until(begin, within=3 * DEADLINE)
        return begun[0]

    def _answers(self) -> bool:
        try:
            return bool(self.ask("GET", "/status")["ready"])
        except OSError:
            return False

    def ask(
        self, method: str, path: str, body: Any = None, *, within: float = 3 * DEADLINE
    ) -> Any:
        """Send a command and return its value."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=within)
        try:
            sent = None if method == "GET" else json.dumps(body or {})
            connection.request(method, path, sent)
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        if answer.status != 200 and value["error"] in (
            "no such frame",
            "javascript error",
        ):
            raise Left(value["message"])
        if answer.status != 200 and value["error"] == "session not created":
            raise NoSession(value["message"])
        assert answer.status == 200, (path, value)
        return value

    def command(self, method: str, path: str, body: Any = None) -> Any:
        return self.ask(method, self._path + path, body)

    def run(self, script: str) -> Any:
        """Run a script, which is given a function to call with its value."""
        path, body = f"{self._path}/execute/async", {"script": script, "args": []}
        try:
            return self.ask("POST", path, body, within=_SCRIPT_SECONDS)
        except TimeoutError:
            raise Left("the script got no answer") from None

    def use(self, window: str) -> None:
        """Send the next commands to a window."""
        if window != self._current:
            self.command("POST", "/window", {"handle": window})
            self._current = window

    def new_context(self) -> "_Profile":
        return _Profile(self)

    def new_private_context(self) -> "_Profile":
        """Return the profile: that of an automated browser is never on a disk."""
        return self.new_context()

    @contextlib.contextmanager
    def content_blocker(self, profile: "_Profile") -> Iterator[None]:
        """Do nothing: the browser has a content blocker all the time."""
        yield

    def pids(self) -> list[int]:
        return descendants(self._driver.pid)

    def new_window(self) -> str:
        return str(self.command("POST", "/window/new", {"type": "window"})["handle"])

    def close_window(self, window: str) -> None:
        self.use(window)
        self.command("DELETE", "/window")
        # Without a window the driver answers nothing more.
        self._current = ""
        self.use(self._first)

    def close_windows(self) -> None:
        """Close all pages, and forget their cookies."""
        for window in self.command("GET", "/window/handles"):
            if window != self._first:
                self.use(window)
                # Cookies belong to the page that is shown.
                self.command("DELETE", "/cookie")
                self.close_window(window)

    def cpu_seconds(self) -> float:
        return cpu_seconds(*self.pids(), self._xvfb.pid)

    def close(self) -> None:
        self._exit.close()


def _browser() -> Path:
    """Return the path of the MiniBrowser, which is in no folder of programs."""
    folders = map(Path, ("/usr/lib", "/usr/libexec", "/usr/lib64"))
    found = [path for each in folders for path in each.glob(f"**/{_BROWSER}")]
    if not found:
        absent("MiniBrowser", remedy="install webkit2gtk-driver")
    return found[0]


class _Profile:
    """The browser's only profile, emptied when a test has ended."""

    def __init__(self, webkit: WebKit) -> None:
        self._webkit = webkit

    def new_page(self) -> "_Page":
        return _Page(self._webkit, self._webkit.new_window())

    def close(self) -> None:
        self._webkit.close_windows()


class _Page(DrivenPage):
    def __init__(self, webkit: WebKit, window: str) -> None:
        super().__init__()
        self._webkit = webkit
        self._window = window

    def _command(self, method: str, path: str, body: Any = None) -> Any:
        self._webkit.use(self._window)
        return self._webkit.command(method, path, body)

    def goto(self, url: str) -> None:
        self.evaluate("window.isLeft = true")
        self._command("POST", "/url", {"url": url})
        self._arrived()

    def go_back(self) -> None:
        self._traverse("/back")

    def go_forward(self) -> None:
        self._traverse("/forward")

    def _traverse(self, path: str) -> None:
        before = self.evaluate("location.href")
        self._command("POST", path)
        # Another step before the page is there would begin from the page before it.
        self.wait_for_function(
            f"location.href !== {json.dumps(before)}"
            " && document.readyState === 'complete'"
        )

    def _arrived(self) -> None:
        # The driver is not asked to wait: it would answer nothing during a download.
        self.wait_for_function("!window.isLeft && document.readyState === 'complete'")

    def _run(self, expression: str) -> Any:
        script = f"""const done = arguments[arguments.length - 1];
          {expression}.then(
            (value) => done({{ value }}),
            (error) => done({{ error: String(error) }}),
          );"""
        self._webkit.use(self._window)
        answer = self._webkit.run(script)
        assert "error" not in answer, answer
        return answer["value"]

    def _picture(self) -> str:
        return str(self._command("GET", "/screenshot"))

    def close(self) -> None:
        self._webkit.close_window(self._window)
