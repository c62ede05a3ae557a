"""The protocols of answers: what their clients receive, and which items they accept."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from flask_sse_hub import (
    ConfigurationError,
    Event,
    InvalidEvent,
    Progress,
    SSEHubError,
)
from flask_sse_hub.answers.protocols import (
    AnswerWriter,
    Failure,
    ProtocolName,
    is_end_id,
    protocol_named,
)
from tests.kit.sse_parser import parse

NAMES: list[ProtocolName | None] = ["events", "openai", "ai-sdk", None]
STRICT: list[ProtocolName] = ["openai", "ai-sdk"]

FAILED = Failure(message="it failed", id="end-0123456789abcdef")
STOPPED = Failure(message="it stops", id="end-0123456789abcdef", reason="shutdown")

dumps = Flask("app").json.dumps


def a_writer(name: ProtocolName | None) -> AnswerWriter:
    return protocol_named(name).new_writer(dumps)


def written(name: ProtocolName | None, items: Iterable[Any]) -> list[str]:
    """Return the data of all events of a complete answer."""
    writer = a_writer(name)
    chunks = [writer.item(item) for item in items]
    return [event.data for event in parse(b"".join(chunks) + writer.end())]


def parts(*items: Any) -> list[Any]:
    """Return the parts of a complete message, without the ids of text."""
    *texts, done = written("ai-sdk", items)
    assert done == "[DONE]"
    found = [json.loads(text) for text in texts]
    return [
        {
            key: value
            for key, value in part.items()
            if key != "id" or not part["type"].startswith("text-")
        }
        for part in found
    ]


START = {"type": "start"}
TEXT_START = {"type": "text-start"}
TEXT_END = {"type": "text-end"}
FINISH = {"type": "finish"}


def delta(text: str) -> dict[str, str]:
    return {"type": "text-delta", "delta": text}


@pytest.mark.parametrize("name", ["sse", "", "OpenAI", 1, ["openai"], True], ids=repr)
def test_an_unknown_name_is_refused_with_a_list_of_names(name: Any) -> None:
    """A typo is corrected from the error alone."""
    text = 'protocol must be "events", "openai", "ai-sdk" or None, not'
    with pytest.raises(ValueError, match=text) as refusal:
        protocol_named(name)
    assert isinstance(refusal.value, ConfigurationError)
    assert isinstance(refusal.value, SSEHubError)


def test_the_default_ends_with_an_event_that_has_an_id() -> None:
    """A native EventSource sends the id back, and is then answered 204."""
    (event,) = parse(a_writer("events").end())
    assert event.type == "done"
    assert json.loads(event.data) == {"id": event.id}
    assert is_end_id(event.id)


@pytest.mark.parametrize("name", STRICT)
def test_a_strict_protocol_ends_with_its_own_text(name: ProtocolName) -> None:
    """Its clients know no types of events, and no ids."""
    assert a_writer(name).end() == b"data: [DONE]\n\n"


def test_without_a_protocol_nothing_is_added() -> None:
    """The bytes are the items alone."""
    writer = a_writer(None)
    assert writer.item("a") == b"data: a\n\n"
    assert writer.item(Event("b", type="token", retry=1)) == (
        b"retry: 1000\nevent: token\ndata: b\n\n"
    )
    assert writer.end() == writer.failure(FAILED) == b""


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("end", ["[DONE]", b"[DONE]", "[DONE]\n"], ids=repr)
def test_an_end_that_an_iterable_yields_is_recognised(
    name: ProtocolName, end: Any
) -> None:
    """The writer writes it, once."""
    assert protocol_named(name).is_end(end)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("item", ["DONE", "", {"a": 1}, None, b"{}"], ids=repr)
def test_other_items_are_no_end(name: ProtocolName | None, item: Any) -> None:
    """They are sent, or refused."""
    assert not protocol_named(name).is_end(item)


@pytest.mark.parametrize("name", ["events", None])
def test_the_end_of_a_strict_protocol_is_text_elsewhere(
    name: ProtocolName | None,
) -> None:
    """Only the author of the iterable knows what it means."""
    assert not protocol_named(name).is_end("[DONE]")
    assert written(name, ["[DONE]"])[0] == "[DONE]"


def test_the_default_tells_of_a_failure_with_an_event() -> None:
    """The id of the event is in its data too, and a reason for programs."""
    for failure in (FAILED, STOPPED):
        (event,) = parse(a_writer("events").failure(failure))
        assert (event.type, event.id) == ("error", failure.id)
        told = json.loads(event.data)
        assert (told["message"], told["id"]) == (failure.message, failure.id)
        assert told.get("reason") == failure.reason


@pytest.mark.parametrize("failure", [FAILED, STOPPED])
def test_openai_is_told_with_an_error_object(failure: Failure) -> None:
    """The answer is not said to be complete."""
    (event,) = parse(a_writer("openai").failure(failure))
    assert (event.type, event.id) == ("message", "")
    assert json.loads(event.data) == {
        "error": {
            "message": f"{failure.message} ({failure.id})",
            "type": "server_error",
            "param": None,
            "code": failure.reason,
        }
    }


@pytest.mark.parametrize("failure", [FAILED, STOPPED])
def test_the_ai_sdk_is_told_with_an_error_part(failure: Failure) -> None:
    """Version 5 refuses a part with further keys. The stream has its usual end."""
    part, done = parse(a_writer("ai-sdk").failure(failure))
    assert json.loads(part.data) == {
        "type": "error",
        "errorText": f"{failure.message} ({failure.id})",
    }
    assert done.data == "[DONE]"


def test_a_failure_says_nothing_of_earlier_items() -> None:
    """An item may be in the making, in another thread, and never be sent."""
    writer = a_writer("ai-sdk")
    fresh = parse(writer.failure(FAILED))
    writer.item("some text")
    assert parse(writer.failure(FAILED)) == fresh


def test_text_becomes_the_parts_of_a_message() -> None:
    """A generator of tokens needs to know nothing of the protocol."""
    assert parts("Hel", b"lo", "") == [
        *(START, TEXT_START, delta("Hel"), delta("lo"), delta(""), TEXT_END, FINISH)
    ]


def test_the_parts_of_a_text_have_one_id() -> None:
    """A client joins the deltas of an id. Each text has an id of its own."""
    texts = written("ai-sdk", ["a", "b", {"type": "data-x", "data": 1}, "c"])[:-1]
    found = [json.loads(text) for text in texts]
    ids = [part["id"] for part in found if part["type"].startswith("text-")]
    assert len(ids) == 7
    assert len(set(ids[:4])) == len(set(ids[4:])) == 1
    assert ids[0] != ids[4]


def test_another_part_closes_the_text_before_it() -> None:
    """Parts keep the order in which they were yielded."""
    tool = {"type": "data-tool", "data": 1}
    assert parts("a", tool, "b") == [
        *(START, TEXT_START, delta("a"), TEXT_END, tool),
        *(TEXT_START, delta("b"), TEXT_END, FINISH),
    ]


def test_an_iterable_that_begins_with_a_part_is_not_framed() -> None:
    """A resumed message has no start, and a client would forget its text at one."""
    own = {"type": "start", "messageId": "7"}
    assert parts(own, "a") == [own, TEXT_START, delta("a"), TEXT_END]
    assert parts() == []


@pytest.mark.parametrize("type", ["finish", "abort"])
def test_a_finish_is_not_doubled(type: str) -> None:
    """The iterable may finish the message itself, for example with metadata."""
    own = {"type": type, "messageMetadata": {}}
    assert parts("a", own) == [START, TEXT_START, delta("a"), TEXT_END, own]


def test_text_with_line_ends_stays_one_delta() -> None:
    """The JSON is on one line."""
    chunk = a_writer("ai-sdk").item("a\nb\r\n\n")
    assert chunk.count(b"data: ") == chunk.count(b"\n\n") == 3


@dataclass
class Chunk:
    """An item that only the app's JSON provider can serialise."""

    type: str = "data-x"


@pytest.mark.parametrize("name", STRICT)
def test_objects_go_through_the_apps_json(name: ProtocolName) -> None:
    """A dict is not the only form of a JSON object."""
    assert written(name, [Chunk()]) == ['{"type": "data-x"}', "[DONE]"]


@pytest.mark.parametrize("text", ['{"a": 1}', b'{"a": 1}', '{"a":\n1}'], ids=repr)
def test_openai_passes_json_text_on(text: Any) -> None:
    """A gateway passes on the lines of another server."""
    first, _ = written("openai", [text])
    assert json.loads(first) == {"a": 1}


@pytest.mark.parametrize(
    ("name", "item", "why"),
    [
        ("openai", "Hello", "it is not JSON"),
        ("openai", "data: {}", "it is not JSON"),
        ("openai", "", "it is not JSON"),
        ("openai", '"text"', "it is not a JSON object"),
        ("openai", [1], "it is not a JSON object"),
        ("openai", None, "it is not a JSON object"),
        ("openai", {"a": float("nan")}, "NaN is no number of JSON"),
        ("openai", Event("{}", type="token"), "the type and the delay"),
        ("openai", Event("{}", retry=1), "the type and the delay"),
        ("ai-sdk", Event("text", type="token"), "the type and the delay"),
        ("ai-sdk", {"content": "text"}, "it has no type"),
        ("ai-sdk", {"type": None}, "it has no type"),
        ("ai-sdk", [{"type": "start"}], "it is not a JSON object"),
        ("ai-sdk", None, "it is not a JSON object"),
    ],
    ids=repr,
)
def test_an_item_that_a_client_would_refuse_is_refused(
    name: ProtocolName, item: Any, why: str
) -> None:
    """The error names the protocol, and shows an item that can be sent."""
    with pytest.raises(InvalidEvent, match=why) as refusal:
        a_writer(name).item(item)
    text = str(refusal.value)
    assert f'protocol="{name}"' in text
    assert "Yield a dict, such as {" in text


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize(
    "write",
    [
        lambda writer: writer.item({"type": "data-x", "id": "1", "event": "e"}),
        lambda writer: writer.end(),
        lambda writer: writer.failure(FAILED),
    ],
    ids=["item", "end", "failure"],
)
def test_a_strict_protocol_has_only_lines_of_data(
    name: ProtocolName, write: Callable[[AnswerWriter], bytes]
) -> None:
    """The Python client of OpenAI takes an id or a retry for an event without data."""
    lines = [line for line in write(a_writer(name)).split(b"\n") if line]
    assert lines
    assert all(line.startswith(b"data: ") for line in lines)


@pytest.mark.parametrize("name", ["events", None])
def test_progress_is_an_event_of_its_own_type(name: ProtocolName | None) -> None:
    """Its data is for a <progress> element."""
    told = Progress(3, "rows", 4)
    (event,) = parse(a_writer(name).item(told, event_id="run:7"))
    assert (event.type, event.id) == ("progress", "run:7")
    assert json.loads(event.data) == {"done": 3, "total": 4, "text": "rows"}


def test_progress_of_the_ai_sdk_is_a_transient_part() -> None:
    """The message that the page keeps does not hold it. Chunks have no form for it."""
    (part,) = parts(Progress(1))
    assert part.pop("data") == {"done": 1, "total": 1.0, "text": ""}
    assert part == {"type": "data-progress", "transient": True}
    with pytest.raises(InvalidEvent):
        a_writer("openai").item(Progress(1))


@pytest.mark.parametrize(
    "values", [(-1,), ("1",), (True,), (float("nan"),), (1, 7), (1, "", float("inf"))]
)
def test_progress_is_made_of_numbers_and_a_text(values: tuple[Any, ...]) -> None:
    """A page could not show anything else."""
    with pytest.raises(InvalidEvent, match="a progress's"):
        Progress(*values)


def test_a_stopped_answer_is_done_and_says_so() -> None:
    """Somebody wanted it to end, so it is no error."""
    (event,) = parse(a_writer("events").end(reason="stopped"))
    assert event.type == "done"
    assert json.loads(event.data)["reason"] == "stopped"


def test_only_events_have_ids_and_a_mark_of_the_state() -> None:
    """Clients of other protocols would not parse these lines."""
    place: dict[str, Any] = {"event_id": "run:7", "is_state": True}
    assert a_writer("events").item("a", **place) == (
        b"id: run:7\nstate: true\ndata: a\n\n"
    )
    for name in STRICT:
        written = a_writer(name).item({"type": "data-a", "data": 1}, **place)
        assert written.startswith(b"data: ")
