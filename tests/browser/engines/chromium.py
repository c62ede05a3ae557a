"""Chromium, driven by Playwright."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.browser.engines.base import BLOCKED, cpu_seconds, descendants

if TYPE_CHECKING:
    from playwright.sync_api import Browser


class Chromium:
    """The browser of the session."""

    name = "chromium"

    def __init__(self, browser: "Browser") -> None:
        self._browser = browser
        self.version = browser.version

    def new_context(self) -> Any:
        return self._browser.new_context()

    def new_private_context(self) -> Any:
        """Return any new profile: those of Playwright are all off the record."""
        return self.new_context()

    @contextmanager
    def content_blocker(self, profile: Any) -> Iterator[None]:
        """Refuse requests as extensions do: the headless shell has no extensions."""
        urls = re.compile(re.escape(BLOCKED))
        profile.route(urls, lambda route: route.abort("blockedbyclient"))
        try:
            yield
        finally:
            profile.unroute(urls)

    @contextmanager
    def without_site_data(self) -> Iterator[Any]:
        """Return a new profile whose settings block site data.

        The headless shell has no settings, so this is another browser.
        """
        settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            Path(folder, "Default").mkdir()
            Path(folder, "Default/Preferences").write_text(json.dumps(settings))
            with self._browser.browser_type.launch_persistent_context(
                folder,
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox"],
            ) as context:
                yield context

    def pids(self) -> list[int]:
        """Return the children of Playwright: it does not name the browser's."""
        drivers = [
            each
            for each in psutil.Process(os.getpid()).children()
            if each.status() != psutil.STATUS_ZOMBIE
            and "playwright" in " ".join(each.cmdline())
        ]
        return descendants(
            *(each.pid for driver in drivers for each in driver.children())
        )

    def cpu_seconds(self) -> float:
        return cpu_seconds(*self.pids())

    def close(self) -> None:
        """Leave the browser open for the other tests."""
