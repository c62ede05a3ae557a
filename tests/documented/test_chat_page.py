"""What docs/chat.md says to write on the server runs, and does what it says."""

import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.documented.chat import BY_GET, BY_POST, PAGE, WORDS, Endpoint, model, run
from tests.documented.samples import sample
from tests.reader import DEADLINE, StreamReader
from tests.sse_parser import parse

TEXT = "".join(WORDS)

KEPT = sample(PAGE, "python", with_="def kept")


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with model(monkeypatch) as endpoint:
        yield endpoint


def browser(code: str) -> Any:
    return run(code)["app"].test_client()


def test_a_post_is_answered_by_all_of_the_text_so_far(endpoint: Endpoint) -> None:
    """As the model says it, and the model is given the question."""
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


def test_a_get_is_answered_by_metadata_and_tokens(endpoint: Endpoint) -> None:
    """One for each piece of the model's."""
    answer = browser(BY_GET).get("/api/stream?message=hello")
    metadata, *tokens, end = parse(answer.data)
    assert (metadata.type, end.type) == ("metadata", "done")
    assert [json.loads(token.data)["content"] for token in tokens] == WORDS
    assert {token.type for token in tokens} == {"token"}


def test_a_model_that_fails_is_told_without_its_secrets(endpoint: Endpoint) -> None:
    """And with an id."""
    answer = browser(BY_POST).post("/api/chat/stream", json={"message": "fail"})
    (error,) = parse(answer.data)
    assert error.type == "error"
    assert json.loads(error.data)["id"]
    assert "secret" not in answer.text


def test_who_stops_has_the_models_call_ended(endpoint: Endpoint) -> None:
    """It would go on for ever."""
    answer = browser(BY_GET).get("/api/stream?message=for+ever")
    with StreamReader(answer.response) as stream:
        stream.next("token")
        assert not endpoint.ended.is_set()
    assert endpoint.ended.wait(DEADLINE)


class TestKeeping:
    """What is kept of an answer."""

    def tokens(self, *, fails: bool = False) -> Generator[str, None, None]:
        yield from WORDS
        if fails:
            raise LookupError

    def answer(self, kept: list[Any], **how: bool) -> Any:
        def keep(*what: str, stopped: bool) -> None:
            kept.append((*what, stopped))

        function = run(KEPT)["kept"]
        return function("?", self.tokens(**how), keep)

    def test_all_of_one_that_is_complete(self) -> None:
        """When its last token was taken."""
        kept: list[Any] = []
        answer = self.answer(kept)
        assert next(answer) == WORDS[0]
        assert kept == []
        assert [*answer] == WORDS[1:]
        assert kept == [("?", TEXT, False)]

    def test_what_came_of_one_that_is_stopped(self) -> None:
        """If anything did."""
        kept: list[Any] = []
        answer = self.answer(kept)
        next(answer)
        answer.close()
        self.answer(kept).close()
        assert kept == [("?", WORDS[0], True)]

    def test_nothing_of_one_that_fails(self) -> None:
        """Whoever waits for it is told."""
        kept: list[Any] = []
        with pytest.raises(LookupError):
            list(self.answer(kept, fails=True))
        assert kept == []
