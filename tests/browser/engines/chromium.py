"""Chromium, driven by Playwright."""

import os
from typing import TYPE_CHECKING, Any

import psutil

from tests.browser.engines.base import cpu_seconds

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

    def cpu_seconds(self) -> float:
        """Return the time of Playwright's children: it does not name the browser's."""
        drivers = [
            each
            for each in psutil.Process(os.getpid()).children()
            if each.status() != psutil.STATUS_ZOMBIE
            and "playwright" in " ".join(each.cmdline())
        ]
        return cpu_seconds(
            *(each.pid for driver in drivers for each in driver.children())
        )

    def close(self) -> None:
        """Leave the browser open for the other tests."""
