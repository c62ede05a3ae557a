"""The parser of ``flask_sse_hub.testing``: it follows the standard."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_sse_hub.testing import Parser, ReceivedEvent
from tests.kit.sse_parser import ParsedEvent
from tests.kit.sse_parser import Parser as SpecParser
from tests.wire.samples import Sample, each_sample
from tests.wire.test_sse_parser import EXAMPLES

each_example = pytest.mark.parametrize(
    ("stream", "seen"), EXAMPLES.values(), ids=EXAMPLES.keys()
)


def seen_by(parser: Parser, *chunks: bytes) -> list[ParsedEvent]:
    """Return its events in the form of the tests' own parser."""
    return [
        ParsedEvent(event.type, event.data, event.id)
        for chunk in chunks
        for event in parser.feed(chunk)
    ]


@each_sample
def test_each_sample_is_seen_as_it_was_meant(sample: Sample) -> None:
    """The kit's parser passes the table that all parsers must pass."""
    parser = Parser()
    assert seen_by(parser, sample.encoded) == [sample.seen]
    assert parser.retry == (None if sample.retry_ms is None else sample.retry_ms / 1000)
    assert parser.last_event_id == sample.event_id


@each_example
@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
def test_examples_of_the_standard_survive_any_cut(
    stream: bytes, seen: list[ParsedEvent], line_end: bytes
) -> None:
    """All three line ends work, and the cut may be anywhere, even inside a CRLF."""
    stream = stream.replace(b"\n", line_end)
    for cut in range(len(stream) + 1):
        assert seen_by(Parser(), stream[:cut], stream[cut:]) == seen
    assert seen_by(Parser(), *(bytes([byte]) for byte in stream)) == seen


@pytest.mark.parametrize(
    ("chunks", "seen"),
    [
        pytest.param([b"data: x\r\r"], ["x"], id="the CR alone ends it"),
        pytest.param([b"data: x\r", b"", b"\n\n"], ["x"], id="CRLF in pieces"),
        pytest.param([b"data: x\r", b"\n", b"\r", b"\n"], ["x"], id="CRLF CRLF"),
        pytest.param([b"data: x\r", b"\n", b"\n"], ["x"], id="CRLF LF in pieces"),
        pytest.param([b"data: x\n\rdata: y\n\r"], ["x", "y"], id="LF CR is two"),
        pytest.param([b"\xef", b"\xbb\xbfdata: x\n\n"], ["x"], id="a BOM in pieces"),
        pytest.param([b"\xef\xbb\xbf" * 2 + b"data: x\n\n"], [], id="a second BOM"),
        pytest.param([b"data: \xff\n\n"], ["\ufffd"], id="no UTF-8"),
        pytest.param([b"data: x\nid: a\0b\n\n"], ["x"], id="NUL in an id"),
        pytest.param([b"Data: x\n data: y\n\n"], [], id="names that are not quite"),
        pytest.param([b"data: unfinished\n"], [], id="no blank line"),
    ],
)
def test_streams_that_are_easily_misread(chunks: list[bytes], seen: list[str]) -> None:
    """The standard allows only one reading of each of these streams."""
    parser = Parser()
    assert [each.data for each in seen_by(parser, *chunks)] == seen
    assert parser.last_event_id == ""


#: Pieces of a stream that the standard treats specially.
PIECES = [
    *(b"data: x", b"data", b"id: 7", b"id", b"event: t", b"retry: 7", b": x", b"\0"),
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xff", "\u2028".encode()),
]


# The many examples are for rare sequences of line ends.
@settings(max_examples=2000)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sets(st.integers(1, 60)))
def test_both_parsers_see_the_same_events(made_of: list[bytes], cuts: set[int]) -> None:
    """Any bytes, cut anywhere, are read in the same way as by the tests' own parser."""
    stream = b"".join(made_of)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    ours, theirs = Parser(), SpecParser()
    chunks = (stream[start:end] for start, end in pairwise(places))
    seen = theirs.feed(stream)
    assert seen_by(ours, *chunks) == seen
    assert seen_by(Parser(), *(bytes([byte]) for byte in stream)) == seen
    assert ours.last_event_id == theirs.last_event_id
    assert ours.retry == (None if theirs.retry_ms is None else theirs.retry_ms / 1000)


def test_an_id_takes_effect_at_the_end_of_its_block() -> None:
    """The id counts without data too, and a client resumes from it."""
    parser = Parser("1")
    assert parser.last_event_id == "1"
    parser.feed(b"id: 2\n")
    assert parser.last_event_id == "1"
    assert parser.feed(b"\ndata: x\n\n") == [ReceivedEvent("message", "x", "2")]


@pytest.mark.parametrize("value", ["-1", "+1", "1.5", "1_0", " 1", "\u0661", ""])
def test_a_retry_that_is_no_number_is_ignored(value: str) -> None:
    """A browser reads "only ASCII digits"."""
    parser = Parser()
    parser.feed(f"retry:  {value}\n\n".encode())
    assert parser.retry is None
