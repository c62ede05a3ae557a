"""The stored form of records: reading returns exactly the record that was written."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub import Event
from flask_sse_hub.brokers import codec
from flask_sse_hub.events import address
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.event import LARGEST_BYTES
from flask_sse_hub.events.record import (
    Cursor,
    Disconnect,
    PresencePart,
    Record,
    Subscribe,
)
from flask_sse_hub.hub.delivery.stretch import Frame

AT = Cursor("e", 7)

#: Bodies that a foreign program may have written into a log.
HOSTILE_BODIES = [
    b"",
    b"x",
    b'{"to":["*"],"event":["message",null]}',
    b"[]\nx",
    b"{}\nx",
    b"null\nx",
    b'"event"\nx',
    b'["event"]\nx',
    b'{"to":[1],"event":["message",null]}\nx',
    b'{"to":"*","event":["message",null]}\nx',
    b'{"to":{"*":1},"event":["message",null]}\nx',
    b'{"to":[""],"event":["message",null]}\nx',
    b'{"to":["news"],"event":["message",null]}\nx',
    b'{"to":["z:news"],"event":["message",null]}\nx',
    b'{"to":["c:"],"event":["message",null]}\nx',
    b'{"to":["c:a\\nb"],"event":["message",null]}\nx',
    b'{"to":["c:\\ud800"],"event":["message",null]}\nx',
    b'{"to":["c:%s"],"event":["message",null]}\nx' % (b"a" * 256),
    b'{"to":[%s],"event":["message",null]}\nx' % b",".join([b'"*"'] * 10_001),
    b'{"event":["message",null]}\nx',
    b'{"to":["*"],"event":null}\nx',
    b'{"to":["*"],"event":["message"]}\nx',
    b'{"to":["*"],"event":["a\\ndata: b",null]}\nx',
    b'{"to":["*"],"event":["connected",null]}\nx',
    b'{"to":["*"],"event":["message","soon"]}\nx',
    b'{"to":["*"],"event":["message",-1]}\nx',
    b'{"to":["*"],"event":["message",1e999]}\nx',
    b'{"to":["*"],"event":["message",NaN]}\nx',
    b'{"to":["*"],"event":["message",%s]}\nx' % (b"9" * 5000),
    b'{"to":["*"],"event":[["message"],null]}\nx',
    b'{"to":["*"],"event":["message",null],"not":[7]}\nx',
    b'{"to":["*"],"event":["message",null],"not":["a\\nb"]}\nx',
    b'{"to":["*"],"event":["message",null],"ttl":-1}\nx',
    b'{"to":["*"],"event":["message",null],"ttl":"5"}\nx',
    b'{"to":["*"],"event":["message",null],"ttl":NaN}\nx',
    b'{"to":["*"],"event":["message",null],"ttl":null}\nx',
    b'{"to":["*"],"disconnect":[7,false]}\n',
    b'{"to":["*"],"disconnect":["a\\nb",false]}\n',
    b'{"to":["*"],"subscribe":[["a"]]}\n',
    b'{"to":["*"],"subscribe":["a",[]]}\n',
    b'{"to":["*"],"subscribe":[["a\\nb"],[]]}\n',
    b'{"to":["*"],"subscribe":[[],[7]]}\n',
    b'{"to":["*"],"subscribe":[[],[]],"presence":[["a","{}"]]}\n',
    b'{"to":["*"],"subscribe":[[],[]],"presence":[["a",7,true]]}\n',
    b'{"to":["*"],"subscribe":[[],[]],"presence":[["a","7",true]]}\n',
    b'{"to":["*"],"subscribe":[[],[]],"presence":[["a","{",true]]}\n',
    b'{"to":["*"],"subscribe":[[],[]],"presence":[["a\\n","{}",true]]}\n',
    b'{"to":["*"],"subscribe":[[],[%s]]}\n' % b",".join([b'"a"'] * 10_001),
    b"[" * 100_000 + b"\nx",
    b'{"a":' * 100_000 + b"\nx",
    b"\xff\nx",
]

names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"),
    min_size=1,
    max_size=255,
)
kinds = st.sampled_from([address.channel, address.user, address.session])
an_address = st.just(BROADCAST) | st.builds(lambda kind, name: kind(name), kinds, names)
addresses = st.lists(an_address, max_size=6).map(tuple)
events = st.builds(
    Event,
    st.text(st.characters(exclude_categories=["Cs"])),
    type=st.sampled_from(["message", "note"]),
    retry=st.none() | st.floats(0, 60),
)
disconnects = st.builds(Disconnect, names, final=st.booleans())
some_names = st.lists(names, max_size=3).map(tuple)
parts = st.builds(PresencePart, names, st.none() | st.just('{"a":1}'), st.booleans())
some_parts = st.lists(parts, max_size=3).map(tuple)
changes = st.builds(Subscribe, some_names, some_names, presence=some_parts)


@given(
    st.builds(
        Record,
        addresses,
        events | disconnects | changes,
        exclude=some_names,
        ttl=st.just(None),
        cursor=st.just(AT),
        time=st.just(5.0),
    )
    | st.builds(
        Record,
        addresses,
        events,
        key=st.none() | names,
        ttl=st.none() | st.floats(0, 604_800),
        receipt=st.booleans(),
        cursor=st.just(AT),
        time=st.just(5.0),
    )
)
def test_a_record_survives_the_round_trip(record: Record) -> None:
    """Data, names and kind all survive, read as text and as bytes."""
    body = codec.encode(record)
    assert codec.decode(body, cursor=AT, time=5.0) == record
    assert codec.decode(body.encode(), cursor=AT, time=5.0) == record


def test_a_record_without_a_ttl_is_stored_as_before() -> None:
    """Earlier versions wrote it so, and read it."""
    body = codec.encode(Record((BROADCAST,), Event("x")))
    assert body == '{"to":["*"],"event":["message",null]}\nx'
    assert codec.decode(body, cursor=AT, time=5.0).ttl is None


TRACEPARENT = f"00-{'ab' * 16}-{'cd' * 8}-03"


def test_a_place_in_a_trace_is_one_more_field() -> None:
    """Earlier versions pass over a field that they do not know."""
    record = Record((BROADCAST,), Event("x\n}"), traceparent=TRACEPARENT)
    body = codec.encode(record)
    head = body.partition("\n")[0]
    plain = codec.encode(Record((BROADCAST,), Event("x\n}")))
    assert json.loads(head).pop("trace") == TRACEPARENT
    assert json.loads(head) == json.loads(plain.partition("\n")[0]) | {
        "trace": TRACEPARENT
    }
    found = codec.decode(body, cursor=AT, time=5.0)
    assert found.traceparent == TRACEPARENT
    assert found.content == Event("x\n}")


def test_a_place_in_a_trace_does_not_fill_the_caches() -> None:
    """Each record has another one, and many records share the rest of the head."""
    before = codec._decode_head.cache_info().misses
    for number in range(50):
        record = Record((BROADCAST,), Event("x", type="cached"))
        traced = replace(record, traceparent=f"00-{number:032x}-{number:016x}-00")
        body = codec.encode(traced)
        codec.decode(body, cursor=AT, time=5.0)
        line = body.encode().partition(b"\n")[0]
        assert codec.addresses_that_lose(line, age=0.0) == (BROADCAST,)
    assert codec._decode_head.cache_info().misses == before + 1


@pytest.mark.parametrize(
    "trace", ["7", "null", '"x"', f'"{TRACEPARENT.upper()}"', f'"{TRACEPARENT}", "x":1']
)
def test_a_place_that_cannot_be_read_is_passed_over(trace: str) -> None:
    """Another program has written it, and the event is as good as without it."""
    body = f'{{"to":["*"],"event":["message",null],"trace":{trace}}}\nx'
    record = codec.decode(body, cursor=AT, time=5.0)
    assert (record.content, record.traceparent) == (Event("x"), None)


def test_a_delay_of_an_earlier_version_is_cut() -> None:
    """The event must not be lost because its delay is no longer allowed."""
    body = codec.encode(Record((BROADCAST,), Event("x", retry=3600.0)))
    assert "3600.0" in body
    record = codec.decode(body.replace("3600.0", "86400.0"), cursor=AT, time=5.0)
    assert record.content == Event("x", retry=3600.0)


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=lambda body: repr(body[:40]))
def test_a_body_that_no_publisher_wrote_is_malformed(body: bytes) -> None:
    """Any other error would stop a follower."""
    with pytest.raises(codec.Malformed):
        codec.decode(body, cursor=AT, time=5.0)


def test_a_record_larger_than_any_event_is_malformed() -> None:
    """Encoding such a record would stop a worker for seconds and take gigabytes."""
    record = Record((BROADCAST,), Event("\n" * 2 * LARGEST_BYTES))
    with pytest.raises(codec.Malformed):
        codec.decode(codec.encode(record), cursor=AT, time=5.0)


@pytest.mark.parametrize("time", ["now", b"", None, -1.0, float("inf"), float("nan")])
def test_an_impossible_time_is_malformed(time: Any) -> None:
    """SQLite stores any value in a column of numbers."""
    with pytest.raises(codec.Malformed):
        codec.decode(codec.encode(Record((), Event(""))), cursor=AT, time=time)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["to", "not", "event", "a"]), inner, max_size=3
        )
    ),
)
heads = st.fixed_dictionaries(
    {},
    optional={
        "to": json_values | st.just(["*"]),
        "not": json_values,
        "event": json_values | st.tuples(st.text(), json_values),
        "disconnect": json_values,
    },
)


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.builds(lambda head, data: json.dumps(head).encode() + data, heads, st.binary())
    | st.builds(lambda head: json.dumps(head).encode() + b"\nx", heads)
)
def test_any_bytes_are_a_record_or_malformed(body: bytes) -> None:
    """Every record that decodes can be written to clients, shown and encoded again."""
    try:
        record = codec.decode(body, cursor=AT, time=5.0)
    except codec.Malformed:
        return
    assert Frame.of(record).size > 0
    address.names_of(record.addresses)
    assert codec.decode(codec.encode(record), cursor=AT, time=5.0) == record
