"""The cost of an answer that outlives its reader, beside an EventSourceResponse.

``python -m benchmarks.lasting`` prints the CPU time of one process for an answer of
2,000 tokens with one reader, and its ratio to the same tokens by EventSourceResponse in
the same run: with its default, an event for each token, and with the same batches. The
log is an SQLite file.
"""

# ruff: noqa: E402 - gevent patches before everything else is imported
from gevent import monkey

monkey.patch_all()

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from flask import Flask, Response

from flask_sse_hub import Batch, EventSourceResponse, SSEHub

_TOKENS = 2000
_ANSWERS = 20
_ROUNDS = 5

# The default batch of sse_hub.answers.
_BATCH = Batch(size=200, interval=0.1, merge="".join)


def _tokens() -> Iterator[str]:
    for number in range(_TOKENS):
        yield f"token{number} "


def _app(folder: str) -> Flask:
    app = Flask("benchmark", instance_path=folder)
    app.config.update(
        SECRET_KEY="a key for a benchmark",  # noqa: S106
        SSE_HUB_LOGIN_REQUIRED=False,
        SSE_HUB_ANSWERS_PER_USER=None,
        SSE_HUB_MAX_CLIENTS_PER_USER=None,
    )
    hub = SSEHub(app)

    @app.get("/one by one")
    def one_by_one() -> Response:
        return EventSourceResponse(_tokens())

    @app.get("/batches")
    def batches() -> Response:
        return EventSourceResponse(_tokens(), batch=_BATCH)

    @app.get("/lasting")
    def lasting() -> Response:
        answer = hub.answers.start(_tokens(), user="reader", batch=_BATCH, keep=1.0)
        return answer.response()

    return app


def _seconds(read: Callable[[], bytes]) -> float:
    """Return the CPU time of one answer, in seconds."""
    began = time.process_time()
    for _ in range(_ANSWERS):
        if b"event: done" not in read():
            raise RuntimeError("the answer is not complete")
    return (time.process_time() - began) / _ANSWERS


def main() -> None:
    """Measure, and print the medians of several rounds."""
    with tempfile.TemporaryDirectory() as folder:
        app = _app(str(Path(folder, "instance")))
        browser = app.test_client()

        def read(path: str) -> bytes:
            return browser.get(path).get_data()

        found: dict[str, list[float]] = {}
        for turn in range(_ROUNDS + 1):
            for path in ("/one by one", "/batches", "/lasting"):
                seconds = _seconds(partial(read, path))
                if turn:
                    found.setdefault(path, []).append(seconds)
        app.extensions["sse_hub"].close()
    one_by_one, batches, lasting = map(statistics.median, found.values())
    print(f"EventSourceResponse, an event for each token {one_by_one * 1000:6.1f} ms")
    print(f"EventSourceResponse, in batches              {batches * 1000:6.1f} ms")
    print(f"sse_hub.answers                              {lasting * 1000:6.1f} ms")
    print(f"ratio {lasting / one_by_one:.2f}, to batches {lasting / batches:.2f}")


if __name__ == "__main__":
    main()
