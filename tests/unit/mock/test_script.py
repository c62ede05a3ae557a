"""Steps of a `flask sse mock` script, and the errors that are refused at the start."""

import json
from typing import Any

import pytest

from flask_sse_hub import testing
from flask_sse_hub.errors import InvalidScript
from flask_sse_hub.mock.script import Drop, Refuse, Send, Wait, read_script
from tests.kit.sse_parser import ParsedEvent, Parser


def script(*steps: dict[str, Any]) -> str:
    return "\n".join(json.dumps(step) for step in steps)


def test_each_step_is_read() -> None:
    """Steps are read in the order of the lines, and blank lines are skipped."""
    text = script({"wait": 1.5}, {"drop": True}, {"status": 503, "retry_after": 5})
    assert read_script(text + "\n\n" + script({"status": 204}) + "\n") == [
        Wait(1.5),
        Drop(),
        Refuse(503, 5.0),
        Refuse(204, None),
    ]


@pytest.mark.parametrize(
    ("step", "seen"),
    [
        ({"data": "x"}, ParsedEvent("message", "x", "")),
        (
            {"data": "a\r\nb\u2028", "id": "7"},
            ParsedEvent("message", "a\nb\u2028", "7"),
        ),
        ({"data": {"n": [1]}, "type": "note"}, ParsedEvent("note", '{"n": [1]}', "")),
        ({"data": None, "retry": 2}, ParsedEvent("message", "null", "")),
        ({"data": {}, "type": "reset"}, ParsedEvent("reset", "{}", "")),
        ({"data": "x", "channel": "news"}, ParsedEvent("message", "x", "")),
    ],
)
def test_an_event_is_written_as_the_hub_would(
    step: dict[str, Any], seen: ParsedEvent
) -> None:
    """The hub's own event types are allowed too, so that pages can try them."""
    (read,) = read_script(json.dumps(step, ensure_ascii=False))
    assert isinstance(read, Send)
    parser = Parser()
    assert parser.feed(read.block) == [seen]
    assert parser.retry_ms == (2000 if "retry" in step else None)
    assert read.event_id == step.get("id")
    (event,) = testing.Parser().feed(read.block)
    assert event.channel == step.get("channel")


def test_comments_and_delays_are_no_events() -> None:
    """Comments and delays leave the last event id unchanged."""
    parser = Parser()
    parser.feed(b"id: 7\ndata: x\n\n")
    for step in read_script(script({"retry": 0.5}, {"comment": "a\nb: \rc"})):
        assert isinstance(step, Send)
        assert parser.feed(step.block) == []
    assert parser.retry_ms == 500
    assert parser.comments == [" a", " b: ", " c"]
    assert parser.last_event_id == "7"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "must be a JSON object"),
        pytest.param("[" * 100_000, "not JSON", id="deep"),
        ("{}", "none of data, wait, drop"),
        ('{"event": "x"}', "none of data"),
        ('{"data": 1, "event": "x"}', "'event' cannot be beside 'data'"),
        ('{"data": 1, "wait": 1}', "'wait' cannot be beside 'data'"),
        ('{"data": 1, "type": "a\\nb"}', "CR, LF or NUL"),
        ('{"data": 1, "id": 7}', "must be a str"),
        ('{"data": 1, "retry": -1}', "retry must be between"),
        ('{"data": 1, "retry": 5000}', "divided by 1000"),
        ('{"data": 1, "retry": null}', "retry must be a number"),
        ('{"data": 1, "type": null}', "must be a str"),
        ('{"data": 1, "id": null}', "must be a str"),
        ('{"data": 1, "channel": null}', "must be a str"),
        ('{"data": 1, "key": null}', "must be a str"),
        ('{"data": 1, "deleted": true}', "deleted must be true, beside a key"),
        ('{"data": 1, "key": "k", "deleted": 1}', "deleted must be true"),
        ('{"retry": null}', "retry must be a number"),
        ('{"status": 503, "retry_after": null}', "retry_after must be a number"),
        ('{"wait": -1}', "wait must be between"),
        ('{"wait": NaN}', "wait must be between"),
        ('{"wait": true}', "wait must be a number"),
        ('{"drop": 1}', "drop must be true"),
        ('{"status": 200}', "status must be 204 or from 400 to 599"),
        ('{"status": 503.0}', "status must be"),
        ('{"status": 503, "retry_after": "soon"}', "retry_after must be a number"),
        ('{"status": 503, "retry_after": 0.5}', "retry_after must be a whole number"),
        ('{"comment": 1}', "comment must be text"),
        ('{"data": "1", "id": "first"}', "already used in line 1"),
    ],
)
def test_a_line_that_cannot_be_played_is_refused(line: str, said: str) -> None:
    """The error gives the line number and the reason before anything is played."""
    text = script({"data": 0, "id": "first"}) + f"\n\n{line}\n"
    with pytest.raises(InvalidScript, match="line 3: ") as raised:
        read_script(text)
    assert said in str(raised.value)


def test_all_bad_lines_are_reported_at_once() -> None:
    """An author can fix all bad lines in one go."""
    with pytest.raises(InvalidScript) as raised:
        read_script('{"wait": "x"}\n{"data": 1}\n{"drop": 0}')
    assert [line[:7] for line in str(raised.value).splitlines()] == [
        "line 1:",
        "line 3:",
    ]


def test_a_file_of_another_kind_does_not_fill_the_screen() -> None:
    """The error lists the first bad lines and counts the rest."""
    with pytest.raises(InvalidScript) as raised:
        read_script("no JSON\n" * 1_000)
    assert str(raised.value).splitlines()[20:] == ["and 980 more"]


def test_a_script_needs_a_step() -> None:
    """An empty file is most likely not the file that was meant."""
    with pytest.raises(InvalidScript, match="empty"):
        read_script("\n")


def test_a_loop_needs_a_wait() -> None:
    """Without a wait, a browser receives events as fast as the machine writes them."""
    with pytest.raises(InvalidScript, match="needs a wait"):
        read_script(script({"data": 1}, {"wait": 0}), loop=True)
    assert read_script(script({"data": 1}, {"wait": 0.1}), loop=True)
