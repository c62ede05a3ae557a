"""The browser engines that people have, behind one interface.

Chromium is driven by Playwright, and the interface is the part of Playwright's that
works in each engine. Firefox is driven by WebDriver BiDi, which it speaks itself.
Safari's engine, as WebKitGTK, is driven by its own WebDriver. An engine is one browser
process, which has the pages of all tests.
"""

from tests.browser.engines.base import Engine, Page, Profile
from tests.browser.engines.chromium import Chromium
from tests.browser.engines.firefox import Firefox
from tests.browser.engines.webkit import WebKit

__all__ = ["ENGINES", "Chromium", "Engine", "Firefox", "Page", "Profile", "WebKit"]

ENGINES = ["chromium", "firefox", "webkit"]
