"""The page of servers says what the live tests show."""

import re
from pathlib import Path

import pytest

from tests.documented.samples import ROOT, sample
from tests.documented.shell import Shell, commands
from tests.kit.ports import HOST, free_port
from tests.live.server import OTHERS
from tests.live.test_refused_servers import REFUSED

PAGE = (ROOT / "docs/servers.md").read_text()
CHECK = sample("docs/servers.md", "sh")
APP = """
from flask import Flask
from flask_sse_hub import SSEHub

app = Flask("yourapp")
app.config.update(SECRET_KEY="set your own", SSE_HUB_LOGIN_REQUIRED=False)
SSEHub(app)
"""

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


@pytest.mark.live
def test_the_commands_check_the_app_and_its_server(tmp_path: Path) -> None:
    """Both end with success, and print no problem."""
    port = free_port()
    shell = Shell(tmp_path, ports={8000: port})
    (tmp_path / "yourapp.py").write_text(APP)
    app, server = commands(CHECK)
    assert shell.run(app) == ""
    with shell.start(f"gunicorn -k gevent -b {HOST}:{port} yourapp:app") as running:
        running.wait_for("Listening")
        assert shell.run(server) == ""
