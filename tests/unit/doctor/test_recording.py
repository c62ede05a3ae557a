"""The script of what one page was sent, from records and the lives of its streams."""

import json
from dataclasses import replace
from typing import Any

import pytest

from flask_sse_hub import Event
from flask_sse_hub.doctor.recording import masked, pages_of, script_of
from flask_sse_hub.events import address
from flask_sse_hub.events.record import Cursor, Disconnect, Record
from flask_sse_hub.hub.clients.journal import StreamLife
from flask_sse_hub.hub.delivery.stretch import Frame
from flask_sse_hub.mock.script import Send, read_script
from flask_sse_hub.web.printing import time_of

NEWS = (address.channel("news"),)
LIFE = StreamLife(
    id="a", user_id="42", addresses=NEWS, opened=50.0, begun="log-0", last="log-9"
)


def place(event_id: str) -> int | None:
    cursor = Cursor.parse(event_id)
    return cursor.offset if cursor and cursor.epoch == "log" else None


def event(offset: int, time: float, **more: Any) -> Record:
    given: dict[str, Any] = {"addresses": NEWS, "content": Event(f"event {offset}")}
    return Record(**given | more, cursor=Cursor("log", offset), time=time)


def lines(
    page: list[StreamLife], *records: Record, since: float = 100.0
) -> list[dict[str, Any]]:
    found = script_of(page, records, since=since, place=place, payloads=True)
    return list(found)


def told(page: list[StreamLife], *records: Record, **more: Any) -> list[Any]:
    """Return the steps as short words: waits, ids, and the names of other steps."""
    return [
        line.get("wait") or line.get("id", "").removeprefix("log-") or next(iter(line))
        for line in lines(page, *records, **more)
    ]


def test_events_come_with_the_gaps_between_them() -> None:
    """The first gap is from the beginning of the time that is recorded."""
    records = event(1, 99.0), event(2, 101.5), event(3, 101.5), event(4, 104.25)
    assert told([LIFE], *records) == [1.5, "2", "3", 2.75, "4"]


def test_a_stream_of_a_pattern_hears_its_channels() -> None:
    """The line names the channel, as the wire does."""
    life = replace(LIFE, addresses=(address.channel("orders.*"),))
    (_, line) = lines([life], event(1, 101.0, addresses=(address.channel("orders.7"),)))
    assert line["channel"] == "orders.7"


@pytest.mark.parametrize(
    "record",
    [
        event(5, 101.0, addresses=(address.channel("other"),)),
        event(5, 101.0, exclude=("a",)),
        event(5, 101.0, content=Disconnect("disconnected")),
        event(10, 101.0),
        event(5, 101.0, ttl=0),
        event(5, 101.0, ttl=10.0),
    ],
    ids=["target", "excluded", "control", "unwritten", "only-live", "too-late"],
)
def test_an_event_that_was_not_written_is_left_out(record: Record) -> None:
    """The stream began later, and resumed before the event."""
    assert lines([replace(LIFE, opened=120.0)], record) == []


def test_a_stream_that_resumed_brings_what_it_missed_at_its_beginning() -> None:
    """The stream before it has written events that the page had not read."""
    page = [
        replace(LIFE, ended=102.0, reason="client_gone", last="log-3"),
        replace(LIFE, opened=110.0, begun="log-1"),
    ]
    records = event(1, 101.0), event(2, 101.5), event(3, 105.0), event(4, 111.0)
    assert told(page, *records) == [
        *(1.0, "1", 1.0, "comment", "drop"),
        *("2", "3", 1.0, "4"),
    ]


def test_the_end_of_the_last_stream_is_a_drop_unless_the_page_left() -> None:
    """A page that left does not come back."""
    shutdown = replace(LIFE, ended=102.0, reason="shutdown")
    assert lines([shutdown]) == [
        {"wait": 2.0},
        {"comment": "the stream ended: shutdown"},
        {"drop": True},
    ]
    assert told([replace(shutdown, reason="client_gone")]) == [2.0, "comment"]
    assert told([shutdown], since=103.0) == []


def test_a_reset_is_an_event() -> None:
    """Its id differs from that of an event at the same place."""
    page = [
        replace(LIFE, ended=101.0, reason="shutdown", last="log-5"),
        replace(LIFE, opened=110.0, begun="log-5", reset="expired"),
    ]
    found = lines(page, event(5, 100.5), event(6, 111.0))
    assert {
        "data": '{"reason": "expired"}',
        "type": "reset",
        "id": "reset-log-5",
    } in found
    read_script("\n".join(map(json.dumps, found)))


def test_a_stream_of_another_log_is_passed_over() -> None:
    """Its places mean nothing in this one."""
    assert lines([replace(LIFE, begun="old-1", last="old-9")], event(1, 101.0)) == []


def test_the_mock_sends_the_bytes_that_the_hub_sent() -> None:
    """Type, delay, channel and key are on the wire."""
    records = [
        event(1, 101.0),
        event(2, 101.0, content=Event("a\nb\u2028", type="note", retry=2.5)),
        event(3, 101.0, key="k"),
        event(4, 101.0, key="k", deletes=True, addresses=(*NEWS, address.user(42))),
    ]
    script = "\n".join(map(json.dumps, lines([LIFE], *records)))
    sent = [step.block for step in read_script(script) if isinstance(step, Send)]
    assert sent == [Frame.of(each).block for each in records]


class TestPages:
    """A page may have several streams, one after the other."""

    def test_the_streams_of_one_client_are_one_page(self) -> None:
        """The earliest stream comes first."""
        first = replace(LIFE, ended=60.0)
        second = replace(LIFE, opened=70.0)
        other = replace(LIFE, id="b", opened=55.0)
        assert pages_of([second, other, first], place=place) == [
            [first, second],
            [other],
        ]

    def test_a_stream_without_a_client_id_goes_on_where_another_was(self) -> None:
        """A native EventSource has a new id at each connection."""
        own = address.client("a"), address.client("b")
        first = replace(LIFE, addresses=(*NEWS, own[0]), ended=60.0, last="log-5")
        second = replace(
            LIFE, id="b", addresses=(*NEWS, own[1]), opened=70.0, begun="log-4"
        )
        assert pages_of([second, first], place=place) == [[first, second]]
        for other in (
            replace(second, begun="log-6"),
            replace(second, begun="old-4"),
            replace(second, addresses=(own[1],)),
            replace(second, opened=59.0),
        ):
            assert len(pages_of([first, other], place=place)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zoë paid 12.50 EUR", "xxx xxxx 00.00 xxx"),
        (
            '{"name": "Ann", "n": [1.5, true, null]}',
            '{"name":"xxx","n":[0.0,false,null]}',
        ),
        ('{"ann@example.com": 7}', '{"xxx@xxxxxxx.xxx":0}'),
        ("7", "0"),
        ('"Ann"', '"xxx"'),
        ("", ""),
        ("<p>Ann</p>", "<x>xxx</x>"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_data_is_masked_in_its_form(text: str, expected: str) -> None:
    """A page can still read it, and nobody learns from it."""
    assert masked(text) == expected


def test_times_are_those_of_people() -> None:
    """They have milliseconds, as the gaps have."""
    assert time_of(1.0625).endswith(":01.062")
