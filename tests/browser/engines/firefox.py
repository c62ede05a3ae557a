"""Firefox, driven by WebDriver BiDi: a browser process, and no driver beside it."""

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests.browser.engines.base import (
    BLOCKED,
    DrivenPage,
    Left,
    cpu_seconds,
    descendants,
)
from tests.kit.reader import DEADLINE, wait_until
from tests.wire.real_parts import absent

_PREFERENCES: dict[str, Any] = {
    # Pages in the background would have slow timers.
    "dom.min_background_timeout_value": 10,
    "dom.timeout.enable_budget_timer_throttling": False,
    # Nothing is asked of the outside.
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    # A process of content for each site takes a second of its own.
    "dom.ipc.processCount": 2,
    "browser.download.folderList": 2,
    "browser.download.alwaysOpenPanel": False,
}

# An extension that blocks content.
_BLOCKER: dict[str, Any] = {
    "manifest.json": {
        "manifest_version": 3,
        "name": "content blocker",
        "version": "1",
        "permissions": ["declarativeNetRequest"],
        "host_permissions": ["<all_urls>"],
        "declarative_net_request": {
            "rule_resources": [{"id": "all", "enabled": True, "path": "rules.json"}]
        },
    },
    "rules.json": [
        {"id": 1, "action": {"type": "block"}, "condition": {"urlFilter": BLOCKED}}
    ],
}


class Firefox:
    """A Firefox without a window."""

    name = "firefox"

    def __init__(self) -> None:
        program = shutil.which("firefox-esr") or shutil.which("firefox")
        if program is None:
            absent("firefox-esr", remedy="install Firefox and have it on PATH")
        self._exit = contextlib.ExitStack()
        self._folder = Path(
            self._exit.enter_context(
                tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            )
        )
        preferences = _PREFERENCES | {"browser.download.dir": str(self._folder)}
        (self._folder / "user.js").write_text(
            "\n".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});"
                for name, value in preferences.items()
            )
        )
        self._process = subprocess.Popen(
            [
                program,
                *("--headless", "--no-remote", "--profile", str(self._folder)),
                # Tests change preferences while it runs.
                *("--remote-debugging-port", "0", "--remote-allow-system-access"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=self._exit.enter_context(self._log.open("wb")),
            start_new_session=True,
        )
        self._exit.callback(self._end)
        wait_until(self._address, within=3 * DEADLINE)
        self._socket = self._exit.enter_context(
            connect(f"{self._address()}/session", max_size=None)
        )
        self._asked = 0
        session = self.ask("session.new", {"capabilities": {}})
        self.version = str(session["capabilities"]["browserVersion"])

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _address(self) -> str:
        """Return the address that the browser has written, "" before that."""
        lines = self._log.read_text().splitlines()
        return "".join(line.partition("listening on ")[2] for line in lines)

    def ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Send a command and return its result."""
        self._asked += 1
        self._socket.send(
            json.dumps({"id": self._asked, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(self._socket.recv(timeout=3 * DEADLINE))
            # Anything else is an event, to which nobody has subscribed.
            if answer.get("id") == self._asked:
                break
        if answer.get("error") == "no such frame" or "AbortError" in str(answer):
            raise Left(answer["message"])
        assert answer["type"] == "success", (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def prefer(self, name: str, value: int) -> None:
        """Set a preference, as on about:config."""
        self._control(f"Services.prefs.setIntPref({name!r}, {value})")

    def _control(self, expression: str) -> None:
        """Run JavaScript in the browser's own window."""
        window, *_ = self.contexts(**{"moz:scope": "chrome"})
        self.ask(
            "script.evaluate",
            {
                "expression": f"void {expression}",
                "target": {"context": window},
                "awaitPromise": False,
            },
        )

    def contexts(self, **which: str) -> list[str]:
        """Return the ids of pages, or of windows."""
        found = self.ask("browsingContext.getTree", which)["contexts"]
        return [each["context"] for each in found]

    def new_context(self) -> "_Profile":
        return _Profile(self)

    def new_private_context(self) -> "_PrivateWindow":
        before = self.contexts()
        self._control("OpenBrowserWindow({ private: true })")
        wait_until(lambda: len(self.contexts()) > len(before))
        (first,) = set(self.contexts()).difference(before)
        return _PrivateWindow(self, first)

    @contextlib.contextmanager
    def content_blocker(self, profile: "_Profile") -> Iterator[None]:
        """Install an extension, which people have for the same purpose."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in _BLOCKER.items():
                Path(folder, name).write_text(json.dumps(content))
            added = self.ask(
                "webExtension.install",
                {"extensionData": {"type": "path", "path": folder}},
            )
            try:
                yield
            finally:
                self.ask("webExtension.uninstall", added)

    @contextlib.contextmanager
    def without_site_data(self) -> Iterator["_Profile"]:
        """Return a new profile while the settings block site data."""
        self.prefer("network.cookie.cookieBehavior", 2)
        context = self.new_context()
        try:
            yield context
        finally:
            context.close()
            self.prefer("network.cookie.cookieBehavior", 5)

    def pids(self) -> list[int]:
        return descendants(self._process.pid)

    def cpu_seconds(self) -> float:
        return cpu_seconds(*self.pids())

    def close(self) -> None:
        self._exit.close()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE)


class _Profile:
    """A container of Firefox, which has cookies, locks and storage of its own."""

    def __init__(self, firefox: Firefox) -> None:
        self._firefox = firefox
        self._context = firefox.ask("browser.createUserContext", {})["userContext"]

    def new_page(self) -> "_Page":
        made = self._firefox.ask(
            "browsingContext.create", {"type": "tab", "userContext": self._context}
        )
        return _Page(self._firefox, made["context"])

    def close(self) -> None:
        self._firefox.ask("browser.removeUserContext", {"userContext": self._context})


class _PrivateWindow:
    """A private window. Its tabs share cookies, which are forgotten with it."""

    def __init__(self, firefox: Firefox, first: str) -> None:
        self._firefox = firefox
        self._first = first
        self._others: list[_Page] = []

    def new_page(self) -> "_Page":
        made = self._firefox.ask(
            "browsingContext.create", {"type": "tab", "referenceContext": self._first}
        )
        page = _Page(self._firefox, made["context"])
        self._others.append(page)
        return page

    def close(self) -> None:
        open_now = self._firefox.contexts()
        for context in (*(page.context for page in self._others), self._first):
            if context in open_now:
                self._firefox.ask("browsingContext.close", {"context": context})


class _Page(DrivenPage):
    def __init__(self, firefox: Firefox, context: str) -> None:
        super().__init__()
        self._firefox = firefox
        self.context = context

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._firefox.ask(method, {"context": self.context, **parameters})

    def goto(self, url: str) -> None:
        self._ask("browsingContext.navigate", url=url, wait="complete")

    def go_back(self) -> None:
        self._ask("browsingContext.traverseHistory", delta=-1)

    def go_forward(self) -> None:
        self._ask("browsingContext.traverseHistory", delta=1)

    def _run(self, expression: str) -> Any:
        result = self._firefox.ask(
            "script.evaluate",
            {
                "expression": expression,
                "target": {"context": self.context},
                "awaitPromise": True,
                # Clicks of a script are those of a person: downloads are allowed.
                "userActivation": True,
            },
        )
        assert result["type"] == "success", result["exceptionDetails"]["text"]
        return result["result"]["value"]

    def _picture(self) -> str:
        return str(self._ask("browsingContext.captureScreenshot")["data"])

    def close(self) -> None:
        self._ask("browsingContext.close")
