"""The stored form: what is read is what was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub import Event
from flask_sse_hub.address import Address
from flask_sse_hub.brokers import codec
from flask_sse_hub.history import Cursor, Disconnect, Record

AT = Cursor("e", 7)

names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), min_size=1
)
addresses = st.lists(names.map(Address), max_size=6).map(tuple)
events = st.builds(
    Event,
    st.text(st.characters(exclude_categories=["Cs"])),
    type=st.sampled_from(["message", "note"]),
    retry=st.none() | st.floats(0, 60),
)
disconnects = st.builds(Disconnect, names, final=st.booleans())


@given(
    st.builds(
        Record,
        addresses,
        events | disconnects,
        exclude=st.lists(names, max_size=3).map(tuple),
        cursor=st.just(AT),
        time=st.just(5.0),
    )
)
def test_a_record_survives_the_round_trip(record: Record) -> None:
    """Whatever its data, its names and its kind; as text and as bytes."""
    body = codec.encode(record)
    assert codec.decode(body, cursor=AT, time=5.0) == record
    assert codec.decode(body.encode(), cursor=AT, time=5.0) == record


@pytest.mark.parametrize(
    "body",
    [
        "",
        "x",
        '{"to":["*"],"event":["message",null]}',
        "[]\nx",
        "{}\nx",
        "null\nx",
        '{"to":[1],"event":["message",null]}\nx',
        '{"to":"*","event":["message",null]}\nx',
        '{"to":["*"],"event":["message"]}\nx',
        '{"to":["*"],"event":["connected",null]}\nx',
        '{"to":["*"],"event":["message","soon"]}\nx',
        '{"to":["*"],"event":[["message"],null]}\nx',
        '{"to":["*"],"event":["message",null],"not":[7]}\nx',
        '{"to":["*"],"disconnect":[7,false]}\n',
        "[" * 100_000 + "\nx",
        b"\xff\nx",
    ],
)
def test_what_nobody_wrote_is_malformed(body: str | bytes) -> None:
    """Never another error, which would stop a follower."""
    with pytest.raises(codec.Malformed):
        codec.decode(body, cursor=AT, time=5.0)
