"""The server samples of the page about browsers; browser/ has the other samples."""

from pathlib import Path
from types import SimpleNamespace

from flask import render_template_string

from tests.conftest import MakeSite
from tests.documented.samples import sample
from tests.documented.shell import Shell, commands

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


def test_the_client_is_copied_for_bundlers(tmp_path: Path) -> None:
    """The command copies the client and the hooks into the named folder."""
    (tmp_path / "app.py").write_text(APP)
    (command,) = commands(COPY)
    Shell(tmp_path, ports={}).run(command)
    copied = {path.name for path in (tmp_path / "frontend/src/sse-hub").iterdir()}
    assert {"sse-hub.js", "sse-hub-react.js", "sse-hub-react.d.ts"} <= copied
