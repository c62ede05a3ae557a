"""The samples of docs/chat.md, and a server with the API that they call."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from flask import Flask, Response, request
from werkzeug.serving import make_server

from tests.documented.samples import sample
from tests.kit.ports import HOST

PAGE = "docs/chat.md"

#: The page's samples for the server, which answer a POST and a GET.
BY_POST = sample(PAGE, "python", with_='/api/chat/stream"')
BY_GET = sample(PAGE, "python", with_="request.args")

#: The page's samples for clients of OpenAI's API, and for the AI SDK.
COMPLETIONS = sample(PAGE, "python", with_='protocol="openai"')
MESSAGES = sample(PAGE, "python", with_='protocol="ai-sdk"')
PARTS = sample(PAGE, "python", with_='"data-weather"')

_MODEL = sample(PAGE, "python", with_="httpx.stream")

WORDS = ["Events", " are", " lines", ".\n", "Blank ones", " end them."]


def run(code: str, **names: Any) -> dict[str, Any]:
    """Run a sample as a module; return its names."""
    names["__name__"] = "a_sample"
    exec(code, names)  # noqa: S102
    return names


@contextmanager
def served(app: Callable[..., Any]) -> Iterator[str]:
    """Serve an app until the block ends; yield its URL."""
    server = make_server(HOST, 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Endpoint:
    """A server that looks like OpenAI's API for chats to a client."""

    def __init__(self) -> None:
        self.app = Flask("endpoint")
        self.app.post("/v1/chat/completions")(self._complete)
        self.asked: list[dict[str, Any]] = []
        #: Set when a call has ended for any reason.
        self.ended = threading.Event()

    def _complete(self) -> Any:
        assert request.headers["Authorization"] == "Bearer a key"
        call = request.get_json()
        assert call["stream"] is True
        self.asked.append(call)
        asked = call["messages"][-1]["content"]
        if "fail" in asked:
            return {"error": {"message": "a secret"}}, 500
        return Response(self._chunks("for ever" in asked), mimetype="text/event-stream")

    def _chunks(self, endless: bool) -> Iterator[str]:
        try:
            yield _chunk({"role": "assistant", "content": ""})
            for word in WORDS:
                yield _chunk({"content": word})
            while endless:
                threading.Event().wait(0.01)
                yield _chunk({"content": " more"})
            yield _chunk({}, finish_reason="stop")
            # The chunk with the usage has no choices.
            yield f"data: {json.dumps({'choices': [], 'usage': {}})}\n\n"
            yield "data: [DONE]\n\n"
        finally:
            self.ended.set()


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"object": "chat.completion.chunk", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n"


@contextmanager
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """Make the page's module for the model importable, with a server that it calls."""
    endpoint = Endpoint()
    with served(endpoint.app) as url:
        monkeypatch.setenv("MODEL", "a-model")
        monkeypatch.setenv("MODEL_KEY", "a key")
        monkeypatch.setenv("MODEL_URL", f"{url}/v1")
        module = ModuleType("language_model")
        vars(module).update(run(_MODEL))
        monkeypatch.setitem(sys.modules, "language_model", module)
        yield endpoint
