"""The cost of an answer that outlives its reader, beside an EventSourceResponse.

``python -m benchmarks.lasting`` prints the CPU time of one process for an answer of
2,000 tokens with one reader, and its ratio to the same tokens by EventSourceResponse in
the same run: with its default, an event for each token, and with the same batches. The
log is an SQLite file.

It then runs 1,000 answers at once in the process, each at a model's pace and read by
nobody. It prints the CPU time and the memory that they take while all of them run, and
by how much the last one ended later than its own tokens took. Beside them is the same
number of bare greenlets that yield the same tokens.
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

import gevent
import psutil
from flask import Flask, Response

from flask_sse_hub import Batch, EventSourceResponse, SSEHub

# The answers that run at once, and how long each one takes.
_AT_ONCE = 1000
_PACE = 0.5
_SECONDS = 20.0

_TOKENS = 2000
_ANSWERS = 20
_ROUNDS = 5

# The default batch of sse_hub.answers.
_BATCH = Batch(size=200, interval=0.1, merge="".join)


def _tokens() -> Iterator[str]:
    for number in range(_TOKENS):
        yield f"token{number} "


def _paced() -> Iterator[str]:
    began = time.monotonic()
    for number in range(round(_SECONDS / _PACE)):
        yield f"token{number} "
        # By the clock: a token that is late makes no other one late.
        gevent.sleep(max(0.0, began + (number + 1) * _PACE - time.monotonic()))


def _app(folder: str) -> tuple[Flask, SSEHub]:
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

    return app, hub


def _seconds(read: Callable[[], bytes]) -> float:
    """Return the CPU time of one answer, in seconds."""
    began = time.process_time()
    for _ in range(_ANSWERS):
        if b"event: done" not in read():
            raise RuntimeError("the answer is not complete")
    return (time.process_time() - began) / _ANSWERS


def _bare() -> float:
    """Return the CPU time of greenlets that only yield the tokens, in seconds."""
    began = time.process_time()
    gevent.joinall([gevent.spawn(list, _paced()) for _ in range(_AT_ONCE)])
    return time.process_time() - began


def _at_once(app: Flask, hub: SSEHub) -> tuple[float, float, float]:
    """Return what many answers take: processors, KiB each, and the lateness of one.

    The lateness is in seconds: from the last token of the last answer to its end.
    """
    process = psutil.Process()
    before = process.memory_full_info().uss

    def start(number: int) -> None:
        with app.app_context():
            hub.answers.start(
                _paced(),
                id=f"many-{number}",
                user=f"user-{number}",
                merge="".join,
                linger=None,
            )

    # In greenlets, as requests start them.
    gevent.joinall([gevent.spawn(start, number) for number in range(_AT_ONCE)])
    last_token_at = time.monotonic() + _SECONDS
    began, cpu = time.monotonic(), time.process_time()
    gevent.sleep(_SECONDS / 2)
    processors = (time.process_time() - cpu) / (time.monotonic() - began)
    memory = process.memory_full_info().uss - before
    while any(each.state == "running" for each in hub.answers.list()):
        gevent.sleep(0.1)
    late = time.monotonic() - last_token_at
    found = [each for each in hub.answers.list() if each.id.startswith("many-")]
    whole = sum(len(f"token{number} ") for number in range(round(_SECONDS / _PACE)))
    if [(each.state, each.size) for each in found] != [("done", whole)] * _AT_ONCE:
        raise RuntimeError("some answers are not complete")
    return processors, memory / _AT_ONCE / 1024, late


def main() -> None:
    """Measure, and print the medians of several rounds."""
    with tempfile.TemporaryDirectory() as folder:
        app, hub = _app(str(Path(folder, "instance")))
        browser = app.test_client()

        def read(path: str) -> bytes:
            return browser.get(path).get_data()

        found: dict[str, list[float]] = {}
        for turn in range(_ROUNDS + 1):
            for path in ("/one by one", "/batches", "/lasting"):
                seconds = _seconds(partial(read, path))
                if turn:
                    found.setdefault(path, []).append(seconds)
        bare = _bare()
        with app.app_context():
            at_once, memory, late = _at_once(app, hub)
        app.extensions["sse_hub"].close()
    one_by_one, batches, lasting = map(statistics.median, found.values())
    print(f"EventSourceResponse, an event for each token {one_by_one * 1000:6.1f} ms")
    print(f"EventSourceResponse, in batches              {batches * 1000:6.1f} ms")
    print(f"sse_hub.answers                              {lasting * 1000:6.1f} ms")
    print(f"ratio {lasting / one_by_one:.2f}, to batches {lasting / batches:.2f}")
    tokens = round(_AT_ONCE / _PACE)
    print(
        f"{_AT_ONCE} answers at once, {tokens} tokens a second:"
        f" {at_once:.0%} of a processor, {memory:.0f} KiB each,"
        f" the last one ended {late:.1f} s late"
    )
    print(f"as many bare greenlets: {bare / _SECONDS:.0%} of a processor")


if __name__ == "__main__":
    main()
