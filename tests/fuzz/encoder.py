"""The wire: a client reads exactly the events that were sent, and nothing else."""

import re
from typing import Any, NamedTuple

from hypothesis import strategies as st

from flask_sse_hub import Event, SSEHubError
from flask_sse_hub.events.event import MAX_RETRY_SECONDS, checked_name
from tests.fuzz.engine import Target, checking
from tests.fuzz.strategies import mostly
from tests.kit.sse_parser import ParsedEvent, Parser

# The characters and fields of the wire format come often.
_texts = st.one_of(
    st.text(),
    st.lists(
        st.one_of(
            st.sampled_from(
                ["\r", "\n", "\r\n", "\0", "\ufeff", "\u2028", "\x0b", " "]
            ),
            st.sampled_from([":", "data:", "id: 7", "event: x", "retry: 1", "\ud800"]),
            st.text(max_size=3),
        )
    ).map("".join),
)
_retries = mostly(
    st.none() | st.floats(0, MAX_RETRY_SECONDS),
    st.floats() | st.integers() | st.booleans(),
)


class Sent(NamedTuple):
    """An event that an app tries to send."""

    data: str
    type: str
    retry: Any
    id: str


class Stream(NamedTuple):
    """Events, and the places at which the network cuts their bytes."""

    events: list[Sent]
    cuts: list[int]


def check(stream: Stream) -> str:
    """Compare the received events with the sent ones: whole, cut, and byte by byte."""
    wire = b""
    expected: list[ParsedEvent] = []
    retry_ms = None
    for sent in stream.events:
        try:
            event_id = checked_name(sent.id, what="an id")
            event = Event(sent.data, type=sent.type, retry=sent.retry)
        except SSEHubError:
            continue
        wire += event.encode(event_id)
        data = re.sub("\r\n|\r", "\n", sent.data)
        expected.append(ParsedEvent(sent.type, data, sent.id))
        retry_ms = retry_ms if sent.retry is None else round(sent.retry * 1000)
    cuts = sorted(cut % (len(wire) + 1) for cut in stream.cuts)
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    for way in ([wire], pieces, [wire[at : at + 1] for at in range(len(wire))]):
        parser = Parser()
        assert [event for piece in way for event in parser.feed(piece)] == expected
        assert parser.retry_ms == retry_ms
        assert parser.comments == []
        assert not parser.midway
    return "arrived" if expected else "refused"


# Odd names are valid too, such as a type that begins with a colon.
_names = mostly(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1),
    _texts,
)
_ids = st.from_regex("[0-9a-z]{1,9}-[0-9]{1,9}", fullmatch=True) | _names

TARGET = Target(
    "wire encoder",
    st.builds(
        Stream,
        st.lists(st.builds(Sent, _texts, _names, _retries, _ids), max_size=4),
        st.lists(st.integers(0), max_size=5),
    ),
    checking(check),
)
