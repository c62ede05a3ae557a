"""The site that clients of language models ask: the views of docs/chat.md, and others.

A stand-in for the model does what the last message says.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from flask import Flask, Response, request
from flask_login import LoginManager, UserMixin

from flask_sse_hub import EventSourceResponse, SSEHub
from flask_sse_hub.answers.protocols import ProtocolName
from tests.documented.chat import COMPLETIONS, MESSAGES, PARTS, WORDS, run
from tests.documented.samples import sample

#: The questions that the model knows. Any other one is answered at once.
FAIL = "fail"
FAIL_AT_ONCE = "fail at once"
WAIT = "wait"
WAIT_FOR_GO = "wait for go"

# Long enough for some heartbeats, where a view has them this often.
_PAUSE_SECONDS = 0.1
_HEARTBEAT_SECONDS = 0.01

# The path of the AI SDK's chat whose answers outlive their readers.
_LASTING = "/lasting/api/chat"
_RESUME = sample("docs/answers.md", "python", with_="def resume")

# Each request to go on is for one answer.
_go = threading.Semaphore(0)
_counts = {"begun": 0, "ended": 0}


def complete(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the words of the answer."""
    question = messages[-1]["content"]
    if question == FAIL_AT_ONCE:
        raise LookupError("a secret")
    _counts["begun"] += 1
    try:
        first, *others = WORDS
        yield first
        if question == WAIT:
            threading.Event().wait()
        if question == WAIT_FOR_GO:
            _go.acquire()
        threading.Event().wait(_PAUSE_SECONDS)
        if question == FAIL:
            raise LookupError("a secret")
        yield from others
    finally:
        _counts["ended"] += 1


class User(UserMixin):  # type: ignore[misc]
    id = "alice"


def add_lasting(app: Flask) -> None:
    """Add a chat of the AI SDK that resumes, for one user."""
    app.config.update(SECRET_KEY="of a test", SSE_HUB_BROKER_URL="memory://")
    LoginManager(app).request_loader(lambda _: User())
    sse_hub = SSEHub(app)
    code = _RESUME.replace("/api/chat", _LASTING)
    exec(code, {"app": app, "sse_hub": sse_hub})  # noqa: S102 - the page's own code

    @app.post(_LASTING)
    def lasting() -> Response:
        body = request.get_json()
        question = body["messages"][-1]["parts"][0]["text"]
        tokens = complete([{"content": question}])
        return sse_hub.answers.start(
            tokens, id=body["id"], merge="".join, protocol="ai-sdk"
        ).response()

    @app.post("/go")
    def go() -> str:
        _go.release()
        return "gone"


def create_app() -> Flask:
    model = ModuleType("language_model")
    model.complete = complete  # type: ignore[attr-defined]
    sys.modules["language_model"] = model
    completions = run(COMPLETIONS)
    chat = run(MESSAGES)["chat"]
    weather = run(PARTS)["answer"]
    app: Flask = completions["app"]

    def answers(
        path: str,
        answer: Callable[[str], Iterator[Any]],
        protocol: ProtocolName | None = "events",
    ) -> None:
        """Add a view, for questions that stand in its path."""

        def view(question: str = "hello") -> Response:
            return EventSourceResponse(
                answer(question), protocol=protocol, heartbeat=_HEARTBEAT_SECONDS
            )

        app.add_url_rule(path, path, view, methods=["POST"])

    def words(question: str) -> Iterator[str]:
        return complete([{"content": question}])

    def chunks(question: str) -> Iterator[dict[str, Any]]:
        found: Iterator[dict[str, Any]] = completions["answer"](
            "mine", [{"content": question}]
        )
        return found

    def with_end(items: Iterator[Any]) -> Iterator[Any]:
        yield from items
        yield "[DONE]"

    def parts(_: str) -> Iterator[dict[str, Any]]:
        yield {"type": "start", "messageId": "m1"}
        yield {"type": "text-start", "id": "t1"}
        for word in WORDS:
            yield {"type": "text-delta", "id": "t1", "delta": word}
        yield {"type": "text-end", "id": "t1"}
        yield {"type": "finish"}

    add_lasting(app)
    app.add_url_rule("/api/chat", view_func=chat, methods=["POST"])
    answers("/beating/v1/chat/completions", chunks, "openai")
    answers("/proxy/v1/chat/completions", lambda _: with_end(chunks("hello")), "openai")
    answers("/proxy/api/chat", lambda _: with_end(parts("hello")), "ai-sdk")
    answers("/beating/api/chat", words, "ai-sdk")
    answers("/weather/api/chat", weather, "ai-sdk")
    answers("/parts/api/chat", parts, "ai-sdk")
    answers("/bare/<question>", words, None)

    @app.get("/events/health/live")
    def live() -> str:
        return "alive"

    @app.get("/counts")
    def counts() -> dict[str, int]:
        return _counts

    return app
