"""The page of servers says what the live tests show."""

import re

import pytest

from tests.documented.samples import ROOT
from tests.live.server import OTHERS
from tests.live.test_refused_servers import REFUSED

PAGE = (ROOT / "docs/servers.md").read_text()
WORKING, _, REST = PAGE.partition("## Servers that are refused")


@pytest.mark.parametrize("name", REFUSED)
def test_each_refused_server_has_a_row_with_its_remedy(name: str) -> None:
    """A reader finds the words of the error on the page."""
    rows = [row for row in REST.splitlines() if name.split()[0].lower() in row.lower()]
    _, _, remedy = REFUSED[name]
    commands = re.findall("`([^`]+)`", remedy) or [remedy.split()[-1]]
    assert any(all(command in row for command in commands) for row in rows), commands


@pytest.mark.parametrize("name", OTHERS)
def test_each_server_that_works_has_a_row_with_its_setting(name: str) -> None:
    """The arguments of the live tests are those of the page, with another number."""
    kind, args = OTHERS[name]
    setting = args.replace("20", "N")
    rows = [row for row in WORKING.splitlines() if kind in row.lower()]
    assert any(setting in row for row in rows), setting
