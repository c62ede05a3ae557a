"""The tests' own parser passes the standard's examples before it judges others."""

import pytest

from tests.kit.sse_parser import ParsedEvent, Parser, parse


def message(data: str, *, last_id: str = "") -> ParsedEvent:
    return ParsedEvent("message", data, last_id)


# The examples of sections 9.2.1 and 9.2.6, with the events that the standard states.
EXAMPLES = {
    "three messages": (
        (
            b"data: This is the first message.\n\n"
            b"data: This is the second message, it\ndata: has two lines.\n\n"
            b"data: This is the third message.\n\n"
        ),
        [
            message("This is the first message."),
            message("This is the second message, it\nhas two lines."),
            message("This is the third message."),
        ],
    ),
    "typed events": (
        (
            b"event: add\ndata: 73857293\n\n"
            b"event: remove\ndata: 2153\n\n"
            b"event: add\ndata: 113411\n\n"
        ),
        [
            ParsedEvent("add", "73857293", ""),
            ParsedEvent("remove", "2153", ""),
            ParsedEvent("add", "113411", ""),
        ],
    ),
    "stock quote": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [message("YHOO\n+2\n10")]),
    # The first of four blocks has only a comment, the third resets the id, and the last
    # lacks its blank line.
    "four blocks": (
        (
            b": test stream\n\n"
            b"data: first event\nid: 1\n\n"
            b"data:second event\nid\n\n"
            b"data:  third event"
        ),
        [message("first event", last_id="1"), message("second event")],
    ),
    "four blocks, all ended": (
        (
            b": test stream\n\n"
            b"data: first event\nid: 1\n\n"
            b"data:second event\nid\n\n"
            b"data:  third event\n\n"
        ),
        [
            message("first event", last_id="1"),
            message("second event"),
            message(" third event"),
        ],
    ),
    "empty data": (b"data\n\ndata\ndata\n\ndata:", [message(""), message("\n")]),
    "optional space": (b"data:test\n\ndata: test\n\n", [message("test")] * 2),
}


@pytest.mark.parametrize(("stream", "seen"), EXAMPLES.values(), ids=EXAMPLES.keys())
@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
def test_examples_of_the_standard(
    stream: bytes, seen: list[ParsedEvent], line_end: bytes
) -> None:
    """Each example gives the stated events, with each of the three line ends."""
    assert parse(stream.replace(b"\n", line_end)) == seen


@pytest.mark.parametrize(("stream", "seen"), EXAMPLES.values(), ids=EXAMPLES.keys())
@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
def test_examples_survive_any_cut(
    stream: bytes, seen: list[ParsedEvent], line_end: bytes
) -> None:
    """Cutting a stream into chunks changes nothing, even inside a CRLF."""
    stream = stream.replace(b"\n", line_end)
    for cut in range(len(stream) + 1):
        parser = Parser()
        assert parser.feed(stream[:cut]) + parser.feed(stream[cut:]) == seen


def test_event_is_dispatched_at_the_cr() -> None:
    """A CR ends a line at once: an event need not wait for a LF that may never come."""
    parser = Parser()
    assert parser.feed(b"data: x\r\r") == [message("x")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: y\n\n") == [message("y")]


def test_lfcr_is_two_line_ends() -> None:
    """Only CR before LF is a pair; LF before CR ends a line and a block."""
    assert parse(b"data: x\n\rdata: y\n\r") == [message("x"), message("y")]


@pytest.mark.parametrize("char", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_nothing_else_ends_a_line(char: str) -> None:
    """Characters at which str.splitlines breaks are ordinary in a stream."""
    assert parse(f"data: a{char}b\n\n".encode()) == [message(f"a{char}b")]


def test_one_leading_bom_is_dropped() -> None:
    """A byte order mark is dropped at the stream's start, once, and nowhere else."""
    bom = b"\xef\xbb\xbf"
    assert parse(bom + b"data: x\n\n") == [message("x")]
    # The second one is part of the field's name, which then is unknown.
    assert parse(bom + bom + b"data: x\n\n") == []
    assert parse(b"data: x\n" + bom + b"data: y\n\n") == [message("x")]
    assert parse(b"data: " + bom + b"\n\n") == [message("\ufeff")]


def test_bom_may_arrive_in_pieces() -> None:
    """The byte order mark is recognised across chunks, empty ones among them."""
    parser = Parser()
    seen = [parser.feed(chunk) for chunk in (b"", b"\xef", b"", b"\xbb\xbfda")]
    assert seen == [[]] * 4
    assert parser.feed(b"ta: x\n\n") == [message("x")]


def test_malformed_utf8_is_replaced() -> None:
    """Decoding never fails: each malformed sequence becomes one U+FFFD."""
    assert parse(b"data: a\xffb\xe2\x82c\n\n") == [message("a\ufffdb\ufffdc")]


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b"data:x", "x"),
        (b"data: x", "x"),
        (b"data:  x", " x"),
        (b"data:\tx", "\tx"),
        (b"data::x", ":x"),
        (b"data: :x", ":x"),
        (b"data", ""),
        (b"data:", ""),
        (b"data: ", ""),
    ],
)
def test_value_follows_the_first_colon_and_one_space(line: bytes, data: str) -> None:
    """A field's value loses one leading space, and nothing more."""
    assert parse(line + b"\n\n") == [message(data)]


@pytest.mark.parametrize("field", ["Data", "DATA", " data", "data ", "datas", "dat"])
def test_unknown_fields_are_ignored(field: str) -> None:
    """Field names are compared literally; a name that differs is no field."""
    assert parse(f"{field}: y\ndata: x\n\n".encode()) == [message("x")]


def test_type_lasts_for_one_block() -> None:
    """A type belongs to its block, the last one counts, and an empty one is none."""
    assert parse(b"event: a\n\ndata: x\n\n") == [message("x")]
    assert parse(b"event: a\nevent: b\ndata: x\n\n") == [ParsedEvent("b", "x", "")]
    assert parse(b"event: a\nevent:\ndata: x\n\n") == [message("x")]


def test_id_lasts_until_the_next_one() -> None:
    """An id stays for later events that carry none."""
    assert parse(b"id: 0\ndata: x\n\ndata: y\n\nid: 1\ndata: z\n\n") == [
        message("x", last_id="0"),
        message("y", last_id="0"),
        message("z", last_id="1"),
    ]


def test_block_without_data_makes_no_ghost_event() -> None:
    """An id alone dispatches nothing, but the blank line commits it."""
    parser = Parser()
    assert parser.feed(b"id: 7\n") == []
    assert parser.last_event_id == ""
    assert parser.feed(b"\n") == []
    assert parser.last_event_id == "7"
    assert parser.feed(b"event: a\nretry: 5\n\n\n\n: x\n\n") == []
    assert parser.empty_blocks == 5
    assert parser.feed(b"data: x\n\n") == [message("x", last_id="7")]


def test_id_with_nul_is_ignored() -> None:
    """An id that holds NUL leaves the last one in place."""
    assert parse(b"id: 1\nid: 2\0\ndata: x\n\n") == [message("x", last_id="1")]


def test_unfinished_block_is_discarded() -> None:
    """A stream that ends before a blank line neither dispatches nor commits its id."""
    parser = Parser()
    assert parser.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n") == [
        message("x", last_id="1")
    ]
    assert parser.last_event_id == "1"


def test_retry_takes_effect_at_its_line() -> None:
    """A retry of digits counts without a blank line, and zero is valid."""
    parser = Parser()
    assert parser.retry_ms is None
    assert parser.feed(b"retry: 0\n") == []
    assert parser.retry_ms == 0
    parser.feed(b"retry:0250\n")
    assert parser.retry_ms == 250


@pytest.mark.parametrize(
    "value",
    ["+5", "-5", "5.0", "5 ", "  5", "1_000", "5e3", "0x5", "\u0665", "\u00b2", ""],
)
def test_retry_of_anything_but_ascii_digits_is_ignored(value: str) -> None:
    """Other forms that Python takes for a number leave the retry alone."""
    parser = Parser()
    parser.feed(f"retry: 1\nretry: {value}\n\n".encode())
    assert parser.retry_ms == 1


def test_comments_are_kept_aside() -> None:
    """A comment is no field, even where it reads like one, and ends no block."""
    parser = Parser()
    seen = parser.feed(b":\n: ping\n:data: y\ndata: x\n: data: z\n\n")
    assert seen == [message("x")]
    assert parser.comments == ["", " ping", "data: y", " data: z"]


def test_fields_that_the_standard_ignores_are_kept_aside() -> None:
    """They make no difference to a script, and end with their block."""
    parser = Parser()
    first, second = parser.feed(b"key: k\nstate: true\ndata: x\n\ndata: x\n\n")
    assert (first, first.ignored) == (message("x"), (("key", "k"), ("state", "true")))
    assert (second, second.ignored) == (message("x"), ())
