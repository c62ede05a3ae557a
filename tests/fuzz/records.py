"""Broker records: stored bytes are a record or malformed, and stop no follower."""

import json
from typing import NamedTuple

from hypothesis import strategies as st

from flask_sse_hub import Event
from flask_sse_hub.brokers import codec
from flask_sse_hub.events.address import BROADCAST, channel, session, user
from flask_sse_hub.events.record import Cursor, Disconnect, Record, Subscribe
from flask_sse_hub.hub.delivery.stretch import Frame
from tests.fuzz.edits import Edit, edited, edits
from tests.fuzz.engine import Target, checking
from tests.fuzz.strategies import json_values, mostly

_AT = Cursor("e", 7)


class Stored(NamedTuple):
    """Bytes in a log, and the changes to them since they were written."""

    body: bytes
    changes: list[Edit]
    as_text: bool


def check(stored: Stored) -> str:
    """Check that a readable record can be fanned out and written again."""
    body: str | bytes = edited(stored.body, stored.changes)
    if isinstance(body, bytes) and stored.as_text:
        # A Redis client or SQLite may return the body as text.
        body = body.decode(errors="surrogateescape")
    try:
        record = codec.decode(body, cursor=_AT, time=5.0)
    except codec.Malformed:
        return "malformed"
    assert isinstance(record, Record)
    assert codec.decode(codec.encode(record), cursor=_AT, time=5.0) == record
    assert isinstance(Frame.of(record).block, bytes)
    assert record.size >= 0
    return type(record.content).__name__.lower()


_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"),
    min_size=1,
    max_size=9,
)
_addresses = st.just(BROADCAST) | st.builds(
    lambda kind, name: kind(name), st.sampled_from([channel, user, session]), _names
)
_genuine = st.builds(
    Record,
    st.lists(_addresses, max_size=6).map(tuple),
    st.one_of(
        st.builds(
            Event,
            st.text(st.characters(exclude_categories=["Cs"])),
            type=st.sampled_from(["message", "note"]),
            retry=st.none() | st.floats(0, 60),
        ),
        st.builds(Disconnect, _names, final=st.booleans()),
        st.builds(
            Subscribe,
            st.lists(_names, max_size=3).map(tuple),
            st.lists(_names, max_size=3).map(tuple),
        ),
    ),
    exclude=st.lists(_names, max_size=3).map(tuple),
).map(lambda record: codec.encode(record).encode())

_heads = st.fixed_dictionaries(
    {},
    optional={
        "to": st.lists(st.text()) | json_values,
        "not": st.lists(st.text()) | json_values,
        "event": st.tuples(st.text() | json_values, st.floats() | json_values)
        | json_values,
        "disconnect": st.tuples(st.text() | json_values, st.booleans() | json_values)
        | json_values,
        "subscribe": st.tuples(st.lists(st.text()), st.lists(st.text()) | json_values)
        | json_values,
    },
)
_made_up = st.tuples(_heads | json_values, st.text()).map(
    lambda parts: f"{json.dumps(parts[0])}\n{parts[1]}".encode(errors="surrogatepass")
)

TARGET = Target(
    "broker records",
    st.builds(
        Stored,
        mostly(_genuine | _made_up, st.binary()),
        mostly(st.just([]), edits) | edits,
        st.booleans(),
    ),
    checking(check),
)
