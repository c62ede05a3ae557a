"""docs/tracing.md: an app that is set up as the page says is traced."""

import subprocess
import sys

from tests.documented.samples import sample

SETUP = sample("docs/tracing.md", "python")

APP = """
from flask import Flask
from flask_sse_hub import SSEHub

app = Flask("app")
app.config.update(SECRET_KEY="key", SSE_HUB_BROKER_URL="memory://")
sse_hub = SSEHub(app)
app.add_url_rule("/order", view_func=lambda: sse_hub.publish("7", type="order"))
"""

REQUEST = """
app.test_client().get("/order")
provider.shutdown()
"""


def test_the_app_of_the_page_is_traced() -> None:
    """Its spans are printed."""
    # In a process of its own: the provider belongs to the process.
    command = [sys.executable, "-c", f"{APP}{SETUP}{REQUEST}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for name in ("append order", "publish order", "GET /order"):
        assert f'"name": "{name}"' in done.stdout, done.stderr
