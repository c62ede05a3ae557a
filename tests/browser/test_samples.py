"""The samples for pages, as the documentation shows them, in a real Chromium."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.browser.conftest import MakeVisitor
from tests.live.server import Server
from tests.reader import wait_until

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/browser.md"])
def test_three_lines_show_live_events(
    server: Server, make_visitor: MakeVisitor, page: str
) -> None:
    """Whoever copies them into a template sees what is published."""
    samples = re.findall(r"```html\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (sample,) = (each for each in samples if "connect()" in each)
    visitor = make_visitor()
    tab = visitor.context.new_page()
    tab.goto(f"{visitor.origin}/tab?template={quote(sample)}")

    def is_shown() -> bool:
        # What is published before the stream is open is not for this page.
        server.publish({"text": "shown"}, type="notification", channel="news")
        return tab.title() == "shown"

    wait_until(is_shown)
