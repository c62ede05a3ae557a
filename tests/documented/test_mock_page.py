"""The mock server on the page about testing, started by its command."""

from pathlib import Path

import pytest

from flask_sse_hub.testing import Stream
from tests.documented.samples import sample
from tests.documented.shell import Shell, commands
from tests.kit.ports import HOST, free_port

PAGE = "docs/testing.md"
MOCK = sample(PAGE, "sh", with_="flask sse mock")
SCRIPT = sample(PAGE, "json")

APP = """
from flask import Flask
from flask_sse_hub import SSEHub

app = Flask(__name__)
app.config["SSE_HUB_LOGIN_REQUIRED"] = False
SSEHub(app)
"""


@pytest.mark.live
def test_the_script_is_played_to_a_client(tmp_path: Path) -> None:
    """It continues after its drop. The app needs nothing but the hub."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "script.jsonl").write_text(SCRIPT)
    port = free_port()
    (command,) = commands(MOCK)
    with Shell(tmp_path, ports={}).start(f"{command} --port {port}") as server:
        url = f"http://{HOST}:{port}/events"
        server.wait_for(url)
        with Stream(url) as stream:
            (paid,) = stream.rest()
            assert (paid.type, paid.json(), paid.id) == ("paid", {"order": 7}, "1")
            assert stream.retry == 2
            stream.resume()
            (shipped,) = stream.rest()
            assert (shipped.type, shipped.id) == ("shipped", "2")
            assert Stream(url, last_event_id="2").status == 503
            stream.resume()
            assert stream.next(type="reset").json() == {"reason": "expired"}
