"""The server samples of docs/chat.md run, and do what the page says."""

import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.documented.chat import (
    BY_GET,
    BY_POST,
    COMPLETIONS,
    MESSAGES,
    PAGE,
    WORDS,
    Endpoint,
    model,
    run,
)
from tests.documented.samples import sample
from tests.kit.reader import DEADLINE, StreamReader
from tests.kit.sse_parser import parse

TEXT = "".join(WORDS)

KEPT = sample(PAGE, "python", with_="def kept")


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with model(monkeypatch) as endpoint:
        yield endpoint


def browser(code: str) -> Any:
    return run(code)["app"].test_client()


def test_a_post_is_answered_with_all_text_so_far(endpoint: Endpoint) -> None:
    """The text is the model's answer, and the model receives the question."""
    answer = browser(BY_POST).post(
        "/api/chat/stream", json={"message": "What are events?"}
    )
    *events, last, end = parse(answer.data)
    for event in events:
        assert TEXT.startswith(json.loads(event.data)["content"])
    assert json.loads(last.data) == {"content": TEXT, "done": True}
    assert end.type == "done"
    (call,) = endpoint.asked
    assert call["messages"] == [{"role": "user", "content": "What are events?"}]
    assert (call["model"], call["max_tokens"]) == ("a-model", 1000)


def test_a_get_is_answered_with_metadata_and_tokens(endpoint: Endpoint) -> None:
    """Each piece of the model's answer is one token event."""
    answer = browser(BY_GET).get("/api/stream?message=hello")
    metadata, *tokens, end = parse(answer.data)
    assert (metadata.type, end.type) == ("metadata", "done")
    assert [json.loads(token.data)["content"] for token in tokens] == WORDS
    assert {token.type for token in tokens} == {"token"}


def test_a_client_of_openai_is_answered_with_chunks(endpoint: Endpoint) -> None:
    """The page reads the model's own answer in this form, so it can read this one."""
    messages = [{"role": "user", "content": "hello"}]
    call = {"model": "mine", "messages": messages, "stream": True}
    answer = browser(COMPLETIONS).post("/v1/chat/completions", json=call)
    *chunks, end = [event.data for event in parse(answer.data)]
    assert end == "[DONE]"
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    assert "".join(each["delta"].get("content", "") for each in choices) == TEXT
    assert [each["finish_reason"] for each in choices][-2:] == [None, "stop"]
    assert endpoint.asked[0]["messages"] == messages


def test_the_ai_sdk_is_answered_with_parts(endpoint: Endpoint) -> None:
    """The model receives the texts of the messages."""
    parts = [{"type": "text", "text": "hel"}, {"type": "file"}]
    parts.append({"type": "text", "text": "lo"})
    call = {"id": "1", "messages": [{"id": "1", "role": "user", "parts": parts}]}
    answer = browser(MESSAGES).post("/api/chat", json=call)
    *sent, end = [event.data for event in parse(answer.data)]
    assert end == "[DONE]"
    assert "".join(json.loads(part).get("delta", "") for part in sent) == TEXT
    assert endpoint.asked[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_a_failure_of_the_model_is_reported_without_secrets(
    endpoint: Endpoint,
) -> None:
    """The error event has an id."""
    answer = browser(BY_POST).post("/api/chat/stream", json={"message": "fail"})
    (error,) = parse(answer.data)
    assert error.type == "error"
    assert json.loads(error.data)["id"]
    assert "secret" not in answer.text


def test_stopping_an_answer_ends_the_models_call(endpoint: Endpoint) -> None:
    """The call would otherwise run for ever."""
    answer = browser(BY_GET).get("/api/stream?message=for+ever")
    with StreamReader(answer.response) as stream:
        stream.next("token")
        assert not endpoint.ended.is_set()
    assert endpoint.ended.wait(DEADLINE)


class TestKeeping:
    """The sample keeps complete and stopped answers."""

    def tokens(self, *, fails: bool = False) -> Generator[str, None, None]:
        yield from WORDS
        if fails:
            raise LookupError

    def answer(self, kept: list[Any], **how: bool) -> Any:
        def keep(*what: str, stopped: bool) -> None:
            kept.append((*what, stopped))

        function = run(KEPT)["kept"]
        return function("?", self.tokens(**how), keep)

    def test_a_complete_answer_is_kept(self) -> None:
        """It is kept when its last token has been taken."""
        kept: list[Any] = []
        answer = self.answer(kept)
        assert next(answer) == WORDS[0]
        assert kept == []
        assert [*answer] == WORDS[1:]
        assert kept == [("?", TEXT, False)]

    def test_a_stopped_answer_is_kept_as_far_as_it_came(self) -> None:
        """An answer that was stopped before its first token is not kept."""
        kept: list[Any] = []
        answer = self.answer(kept)
        next(answer)
        answer.close()
        self.answer(kept).close()
        assert kept == [("?", WORDS[0], True)]

    def test_a_failed_answer_is_not_kept(self) -> None:
        """The error reaches the caller."""
        kept: list[Any] = []
        with pytest.raises(LookupError):
            list(self.answer(kept, fails=True))
        assert kept == []
