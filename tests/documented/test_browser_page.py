"""The server samples of the page about browsers; browser/ has the other samples."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

from flask import render_template_string

from tests.conftest import MakeSite
from tests.documented.samples import sample
from tests.documented.shell import Shell, commands
from tests.wire.real_parts import absent

PAGE = "docs/browser.md"
VIEW = sample(PAGE, "python", with_='@app.get("/orders")')
HTML = sample(PAGE, "html", with_="cursor=cursor")
COPY = sample(PAGE, "sh", with_="flask sse client")

APP = """
from flask import Flask
from flask_sse_hub import SSEHub

app = Flask(__name__)
app.config["SSE_HUB_LOGIN_REQUIRED"] = False
SSEHub(app)
"""


def test_a_page_with_a_cursor_misses_nothing_after_it(make_site: MakeSite) -> None:
    """It receives an event that is published while the view queries its state."""
    site = make_site(public_channels=["orders"])

    def query() -> list[str]:
        site.hub.publish("in between", channel="orders")
        return []

    names = {
        "app": site.app,
        "sse_hub": site.hub,
        "Order": SimpleNamespace(query=SimpleNamespace(all=query)),
        "render_template": lambda _, **given: render_template_string(HTML, **given),
    }
    exec(VIEW, names)  # noqa: S102
    browser = site.browser("ada")
    cursor = site.hub.cursor()
    page = browser.get("/orders").text
    assert cursor in page
    assert "/events?channel=orders" in page
    stream = browser.stream(f"/events?channel=orders&last_event_id={cursor}")
    assert stream.data(1) == ["in between"]


def test_the_client_is_installed_for_bundlers(tmp_path: Path) -> None:
    """The commands write the package and make it importable by its name."""
    (tmp_path / "app.py").write_text(APP)
    if shutil.which("npm") is None:
        absent("npm", remedy="install Node.js 18 or later")
    (tmp_path / "frontend").mkdir()
    (tmp_path / "frontend/package.json").write_text("{}")
    # Nothing of the package is in a registry.
    (tmp_path / "frontend/.npmrc").write_text("offline=true\naudit=false\nfund=false\n")
    shell = Shell(tmp_path, ports={})
    for command in commands(COPY):
        shell.run(command)
    copied = {path.name for path in (tmp_path / "frontend/sse-hub").iterdir()}
    assert {"package.json", "sse-hub.js", "sse-hub-vue.js", "sse-hub.d.ts"} <= copied
    installed = tmp_path / "frontend/node_modules/sse-hub"
    assert installed.resolve() == tmp_path / "frontend/sse-hub"
    names = json.loads((tmp_path / "frontend/package.json").read_text())["dependencies"]
    assert names == {"sse-hub": "file:sse-hub"}
