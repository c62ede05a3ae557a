"""Real threads beside gevent: what they call leaves nothing of gevent behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.real_parts import absent

CALL_FROM_SHORT_LIVED_THREADS = """
from gevent import monkey
monkey.patch_all()
import os, sys
import gevent
from flask import Flask
from flask_sse_hub import SSEHub
start = monkey.get_original("_thread", "start_new_thread")

app = Flask("app")
app.config.update(SECRET_KEY="key", SSE_HUB_BROKER_URL=f"sqlite:///{sys.argv[1]}")
app.config["SSE_HUB_LOGIN_REQUIRED"] = False
sse_hub = SSEHub(app)
stream = iter(app.test_client().get("/events", buffered=False).response)
next(stream)

calls = {
    "publish": lambda: sse_hub.publish("x"),
    "disconnect": lambda: sse_hub.disconnect(user="nobody"),
    "stats": lambda: sse_hub.stats(),
}

def run(done):
    with app.app_context():
        calls[sys.argv[2]]()
    done.append(True)

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def call():
    done = []
    start(run, (done,))
    with gevent.Timeout(30.0):
        while not done:
            gevent.sleep(0.001)

call()
before = descriptors()
for _ in range(int(sys.argv[3])):
    call()
print(descriptors() - before, flush=True)
os._exit(0)
"""

_CALLS = 50


@pytest.mark.parametrize("call", ["publish", "disconnect", "stats"])
def test_short_lived_threads_leave_no_descriptors(call: str, tmp_path: Path) -> None:
    """A real thread that waits through gevent makes a hub with two descriptors."""
    if not Path("/proc/self/fd").exists():
        absent("/proc", remedy="run this test on Linux")
    words = [sys.executable, "-c", CALL_FROM_SHORT_LIVED_THREADS]
    command = [*words, str(tmp_path / "log.db"), call, str(_CALLS)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60.0)
    # The hub's own threads may open their files meanwhile, a few once.
    assert int(said.stdout) < _CALLS, said.stderr
