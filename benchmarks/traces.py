"""The files that a connect and a publish pass through, counted with a profiler.

``python -m benchmarks.traces`` prints the files in the order of their first call, each
with the functions that ran in it. One app with a login runs in this process, on
memory://, and its client is served by generator. The hub's threads are traced too, but
for those that go by the clock.
"""

import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, login_user

import flask_sse_hub
from flask_sse_hub import SSEHub

_PACKAGE = Path(flask_sse_hub.__file__).parent

# They look at each client now and then, whatever is connected or published.
_BY_THE_CLOCK = ("sse-hub-heartbeat", "sse-hub-revalidation")


class Trace:
    """The functions of the package that were called, by file."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, None]] = {}
        self._on = False

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call; the interpreter calls this for each function of each thread."""
        if not self._on or event != "call":
            return
        if threading.current_thread().name in _BY_THE_CLOCK:
            return
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_PACKAGE):
            name = str(path.relative_to(_PACKAGE))
            self.files.setdefault(name, {})[frame.f_code.co_name] = None

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Trace what happens in this block, and print it."""
        self.files = {}
        self._on = True
        try:
            yield
        finally:
            self._on = False
        print(f"{what}: {len(self.files)} files")
        for name, functions in self.files.items():
            print(f"  {name}: {', '.join(functions)}")


class _User(UserMixin):  # type: ignore[misc]
    id = "alice"


def _app() -> tuple[Flask, SSEHub]:
    app = Flask("traces")
    app.config.update(SSE_HUB_BROKER_URL="memory://")
    app.secret_key = secrets.token_hex()
    LoginManager(app).user_loader(lambda _: _User())
    sse_hub = SSEHub(app)

    @app.post("/login")
    def login() -> str:
        login_user(_User())
        return "in"

    return app, sse_hub


def main() -> None:
    """Print both traces."""
    app, sse_hub = _app()
    browser = app.test_client()
    browser.post("/login")
    trace = Trace()
    threading.setprofile(trace)
    with browser.get("/events") as first:
        # The first connect of a process does more than every later one.
        next(iter(first.response))
        sys.setprofile(trace)
        with trace.of("connect to first byte"):
            response = browser.get("/events")
            chunks: Any = iter(response.response)
            next(chunks)
        with trace.of("publish to the next bytes of a client"):
            sse_hub.publish({"text": "hello"}, user="alice")
            next(chunks)
        sys.setprofile(None)
        response.close()
    app.extensions["sse_hub"].close()


if __name__ == "__main__":
    main()
