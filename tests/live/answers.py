"""Streams of one request, of each kind, with counts of what their iterables did."""

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from flask import Blueprint, Response, abort, request

from flask_sse_hub import Batch, EventSourceResponse
from flask_sse_hub.server.worker import serving_worker

# Ten megabytes are more than the kernel buffers for a client that reads little.
PIECE = "x" * 1000
PIECES = 10_000

_THREADS = {"sse-producer", "sse-departures"}


class Upstream:
    """An iterable to stream that is slow or fails, like a model or an import."""

    def __init__(self, counts: dict[str, int], steps: Callable[[], Any]) -> None:
        self._counts = counts
        self._steps = steps
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Self:
        self._counts["begun"] += 1
        self._iterator = self._iterate()
        return self

    def _iterate(self) -> Iterator[Any]:
        try:
            for item in self._steps():
                self._counts["yielded"] += 1
                yield item
        finally:
            self._counts["finally"] += 1
            # A test reads this in the log when the worker is gone and answers nothing.
            print("the finally ran", file=sys.stderr, flush=True)  # noqa: T201

    def __next__(self) -> Any:
        assert self._iterator is not None
        return next(self._iterator)

    def close(self) -> None:
        self._counts["closed"] += 1
        if self._iterator is not None:
            self._iterator.close()  # type: ignore[attr-defined]


class Gate:
    """A gate at which upstreams wait until a test opens it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self) -> None:
        self._event.wait()

    def let_through(self) -> None:
        """Let all through that wait now; later ones wait again."""
        event, self._event = self._event, threading.Event()
        event.set()


def blueprint(query: Callable[[], int]) -> Blueprint:
    """Return the routes; ``query`` makes a query to the database."""
    answers = Blueprint("answers", __name__, url_prefix="/answers")
    counts = dict.fromkeys(["made", "begun", "yielded", "finally", "closed"], 0)
    gate = Gate()

    def silent() -> Iterator[str]:
        gate.wait()
        yield from ()

    def waiting() -> Iterator[str]:
        yield "first"
        gate.wait()
        yield from (str(number) for number in range(20))

    def at_once() -> Iterator[str]:
        raise LookupError("a secret")
        yield "never"

    def in_the_middle() -> Iterator[str]:
        yield "first"
        raise LookupError("a secret")

    def in_its_finally() -> Iterator[str]:
        try:
            yield "first"
        finally:
            raise LookupError("a secret")

    def cleaning_up() -> Iterator[str]:
        try:
            yield "first"
            gate.wait()
        finally:
            # The time that it may take to tell a model to stop.
            threading.Event().wait(0.1)

    def large() -> Iterator[str]:
        for _ in range(PIECES):
            yield PIECE

    def querying() -> Iterator[str]:
        yield str(query())
        gate.wait()
        yield str(query())

    def outlasting() -> Iterator[str]:
        yield "first"
        worker = serving_worker()
        while worker is not None and worker.alive:
            threading.Event().wait(0.01)
        yield "last"

    kinds = {
        each.__name__.replace("_", "-"): each
        for each in (
            *(silent, waiting, at_once, in_the_middle, in_its_finally, large),
            *(querying, outlasting, cleaning_up),
        )
    }

    @answers.route("/<kind>", methods=["GET", "POST"])
    def answer(kind: str) -> Response:
        if kind not in kinds:
            abort(404)
        counts["made"] += 1
        return EventSourceResponse(
            Upstream(counts, kinds[kind]),
            heartbeat=float(request.args.get("heartbeat", "15")),
            batch=Batch(merge="".join) if "merge" in request.args else None,
            app_context=kind == "querying",
            protocol=None if "bare" in request.args else "events",
        )

    @answers.post("/release")
    def release() -> str:
        gate.let_through()
        return "released"

    @answers.get("/")
    def state() -> dict[str, Any]:
        return counts | {
            "streaming": len(
                [it for it in threading.enumerate() if it.name in _THREADS]
            ),
        }

    @answers.get("/greenlets")
    def greenlets() -> dict[str, int]:
        # Two passes over all objects take a while, so this has a route of its own.
        gc.collect()
        greenlet = sys.modules["greenlet"].greenlet
        alive = [it for it in gc.get_objects() if isinstance(it, greenlet) and it]
        return {"greenlets": len(alive)}

    return answers
