"""Answers that outlive their readers, for live tests to start, read and stop."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request

from flask_sse_hub import SSEHub
from flask_sse_hub.hub import members

# A test waits for three missed beats.
members.BEAT_SECONDS = 0.5

_THREADS = ("sse-producer", "sse-answer", "sse-answers", "sse-departures")


def words(count: int, pace: float, mark: str, *, first: int = 0) -> Iterator[str]:
    for number in range(first, count):
        time.sleep(pace)
        yield f"{mark}{number} "


def blueprint(hub: SSEHub) -> Blueprint:
    @hub.restart_answer
    def go_on(answer_id: str, so_far: str) -> Iterator[str]:
        """Go on with the words of an answer. Its id has their number and pace."""
        count, pace, _ = answer_id.split("-")
        seconds = int(pace) / 1000
        return words(int(count), seconds, "w", first=len(so_far.split()))

    views = Blueprint("lasting", __name__, url_prefix="/lasting")

    @views.post("/start")
    def start() -> Response:
        wanted = request.get_json()
        answer = hub.answers.start(
            words(wanted["count"], wanted["pace"], wanted["mark"]),
            merge="".join,
            keep=wanted["keep"],
            id=wanted.get("id"),
            restart=go_on if "id" in wanted else None,
        )
        return jsonify(id=answer.id, pid=os.getpid())

    @views.get("/read/<answer_id>")
    def read(answer_id: str) -> Response:
        return hub.answers.response(answer_id)

    @views.post("/stop/<answer_id>")
    def stop(answer_id: str) -> Response:
        return jsonify(stopped=hub.answers.stop(answer_id), pid=os.getpid())

    @views.get("/status/<answer_id>")
    def status(answer_id: str) -> dict[str, Any]:
        found = hub.answers.get(answer_id)
        return {"state": None} if found is None else asdict(found)

    @views.get("/left")
    def left() -> dict[str, Any]:
        """Return what answers have left in this worker and in the log."""
        kept = current_app.extensions["sse_hub"].broker.state().records
        return {
            "pid": os.getpid(),
            "threads": [t.name for t in threading.enumerate() if t.name in _THREADS],
            "keys": [each.key for each in kept if each.key != "beat"],
            "answers": len(hub.answers.list()),
        }

    return views
