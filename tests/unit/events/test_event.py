"""Events and their encoding: which values are refused, and how clients see others."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import FrozenInstanceError
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub.errors import InvalidEvent, InvalidName, SSEHubError
from flask_sse_hub.events.event import (
    EVERY_TYPE,
    MAX_NAME_CHARS,
    MAX_RETRY_SECONDS,
    MESSAGE,
    RESERVED_TYPES,
    Event,
    checked_name,
    encode_block,
    encode_retry,
    text_of,
)
from tests.kit.sse_parser import ParsedEvent, Parser, parse
from tests.wire.samples import SAMPLES, Sample, each_sample


class Later:
    """An object that ``await`` takes, and that is no coroutine."""

    def __await__(self) -> Iterator[None]:
        yield


# Characters that are likely to cause faults are drawn often; all others sometimes.
characters = st.one_of(
    st.sampled_from("\r\n :\0\t\x0b\x0c\x1c\x85\u2028\u2029\ufeffdatei0"),
    st.characters(exclude_categories=["Cs"]),
)
texts = st.text(characters)
types = st.text(
    characters.filter(lambda char: char not in "\r\n\0"),
    min_size=1,
    max_size=MAX_NAME_CHARS,
).filter(lambda name: name not in {*RESERVED_TYPES, EVERY_TYPE})
retries = st.none() | st.floats(0, MAX_RETRY_SECONDS) | st.integers(0, 3600)
events = st.builds(Event, texts, type=types, retry=retries)
event_ids = st.from_regex(r"[a-z0-9]{1,8}-[0-9]{1,19}", fullmatch=True)


def as_seen(event: Event, event_id: str) -> ParsedEvent:
    data = event.data.replace("\r\n", "\n").replace("\r", "\n")
    return ParsedEvent(event.type, data, event_id)


def fed(chunks: Sequence[bytes]) -> list[ParsedEvent]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


class TestRoundTrip:
    """A client sees each event as it was encoded."""

    @each_sample
    def test_whole(self, sample: Sample) -> None:
        """Every sample is seen as one event with its type, data, id and retry."""
        parser = Parser()
        assert parser.feed(sample.encoded) == [sample.seen]
        assert parser.retry_ms == sample.retry_ms
        assert parser.last_event_id == sample.event_id
        assert parser.comments == []

    @each_sample
    def test_byte_by_byte(self, sample: Sample) -> None:
        """Every sample survives a network that carries one byte at a time."""
        chunks = [bytes([byte]) for byte in sample.encoded]
        assert fed(chunks) == [sample.seen]
        # The last byte completes the event, so no client waits for the next event.
        assert fed(chunks[:-1]) == []

    @pytest.mark.parametrize(
        "sample",
        [sample for sample in SAMPLES if len(sample.encoded) <= 2000],
        ids=lambda s: s.name,
    )
    def test_split_anywhere(self, sample: Sample) -> None:
        """Every small sample survives a cut at each of its bytes."""
        encoded = sample.encoded
        for cut in range(len(encoded) + 1):
            assert fed([encoded[:cut], encoded[cut:]]) == [sample.seen]

    def test_all_samples_in_one_stream(self) -> None:
        """Events do not leak into their neighbours."""
        stream = b"".join(sample.encoded for sample in SAMPLES)
        assert parse(stream) == [sample.seen for sample in SAMPLES]

    @given(texts)
    def test_any_data(self, data: str) -> None:
        """Any text arrives, with each of its line ends as LF."""
        event = Event(data)
        assert parse(event.encode("a-1")) == [as_seen(event, "a-1")]

    @given(types)
    def test_any_type(self, type: str) -> None:
        """Any type that is accepted arrives as it is."""
        assert parse(Event("x", type=type).encode("a-1")) == [
            ParsedEvent(type, "x", "a-1")
        ]

    @given(st.floats(0, MAX_RETRY_SECONDS) | st.integers(0, 3600))
    def test_any_retry(self, retry: float) -> None:
        """Any delay that is accepted arrives in milliseconds, within 32 bits."""
        parser = Parser()
        parser.feed(Event("x", retry=retry).encode("a-1"))
        assert parser.retry_ms is not None
        assert parser.retry_ms < 2**31
        assert parser.retry_ms == pytest.approx(retry * 1000, abs=0.5, rel=0)

    @given(
        st.lists(st.tuples(events, event_ids), max_size=5),
        st.lists(st.integers(min_value=0), max_size=20),
    )
    def test_any_stream_in_any_chunks(
        self, sent: list[tuple[Event, str]], cuts: list[int]
    ) -> None:
        """Any events in a row arrive one by one, however the stream is cut."""
        stream = b"".join(event.encode(event_id) for event, event_id in sent)
        places = sorted(cut % (len(stream) + 1) for cut in cuts)
        chunks = [
            stream[start:end]
            for start, end in zip([0, *places], [*places, len(stream)], strict=True)
        ]
        assert b"".join(chunks) == stream
        assert fed(chunks) == [as_seen(event, event_id) for event, event_id in sent]


class TestFaultsOfOthers:
    """Encoding mistakes that other libraries make."""

    def test_empty_data_sends_an_event(self) -> None:
        """Empty data is data: the client receives an event."""
        assert parse(Event("").encode("a-1")) == [ParsedEvent("message", "", "a-1")]

    def test_data_is_split_only_on_cr_lf_and_crlf(self) -> None:
        """Other characters at which str.splitlines breaks stay within one line."""
        others = "".join(
            char
            for char in map(chr, range(0x110000))
            if char not in "\r\n" and len(f"a{char}b".splitlines()) == 2
        )
        assert others
        assert Event(others).encode("a-1").count(b"data:") == 1
        assert Event("a\rb\nc\r\nd").encode("a-1").count(b"data:") == 4

    @pytest.mark.parametrize("data", ["x\n", "x\r", "x\r\n", "\n", "x\n\n"])
    def test_trailing_line_ends_are_kept(self, data: str) -> None:
        """Data with a trailing line end still has one at the client."""
        (seen,) = parse(Event(data).encode("a-1"))
        assert seen.data.endswith("\n")
        assert seen.data.count("\n") == len(re.findall("\r\n|\r|\n", data))

    def test_id_of_zero_is_sent(self) -> None:
        """An id that is falsy, such as 0, is sent like any other."""
        assert b"id: 0\n" in Event("x").encode("0")
        assert b"id: 0\n" in encode_block("x", event_id="0")

    def test_every_event_carries_its_id(self) -> None:
        """Each event has exactly one id, in the block of its data."""
        for sample in SAMPLES:
            lines = sample.encoded.split(b"\n")
            ids = [line for line in lines if line.startswith(b"id:")]
            assert ids == [f"id: {sample.event_id}".encode()], sample.name

    @pytest.mark.parametrize("retry", [0, 0.0, -0.0])
    def test_retry_of_zero_is_sent(self, retry: float) -> None:
        """A delay of zero is valid: the client reconnects at once."""
        assert Event("x", retry=retry).encode("a-1").startswith(b"retry: 0\n")

    @pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
    def test_type_cannot_forge_fields(self, line_end: str) -> None:
        """A line end in a type would start a new field, so it is refused."""
        with pytest.raises(InvalidName, match="contains CR, LF or NUL"):
            Event("x", type=f"order{line_end}data: forged")

    @pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
    def test_id_cannot_forge_fields(self, line_end: str) -> None:
        """A line end in an id is refused, and the error names the id."""
        with pytest.raises(InvalidName, match=r"^an id .* contains CR, LF or NUL"):
            checked_name(f"1{line_end}data: forged", what="an id")

    @pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
    def test_data_cannot_forge_fields(self, line_end: str) -> None:
        """Data that looks like a block of its own stays data."""
        forged = line_end.join(["x", "", "event: admin", "id: 9", "retry: 1", "", ""])
        parser = Parser()
        (seen,) = parser.feed(Event(forged).encode("a-1"))
        assert (seen.type, seen.id, parser.retry_ms) == ("message", "a-1", None)


class TestType:
    """The types that an event may have."""

    def test_default_is_message(self) -> None:
        """An event without a type reaches ``onmessage``, and no type is sent."""
        event = Event("x")
        assert event.type == MESSAGE == "message"
        assert b"event:" not in event.encode("a-1")

    def test_naming_the_default_type_changes_nothing(self) -> None:
        """Events with the default type are equal, whether they name it or not."""
        assert Event("x", type="message") == Event("x")

    def test_a_type_is_sent_as_it_was_checked(self) -> None:
        """A str with its own formatting, such as an enum member, is sent as a str."""

        class Kind(str, Enum):  # noqa: UP042
            NEW = "new"

        (seen,) = parse(Event("x", type=Kind.NEW).encode("a-1"))
        assert seen.type == "new"

    @pytest.mark.parametrize("char", ["\r", "\n", "\0"])
    @pytest.mark.parametrize("form", ["{}", "{}a", "a{}", "a{}b"])
    def test_line_ends_and_nul_are_refused(self, char: str, form: str) -> None:
        """CR, LF and NUL are refused at any position."""
        with pytest.raises(InvalidName, match=r"an event's type .* contains CR"):
            Event("x", type=form.format(char))

    def test_empty_is_refused(self) -> None:
        """An empty type would mean no type at all."""
        with pytest.raises(InvalidName, match="an event's type is empty"):
            Event("x", type="")

    def test_length_is_bounded(self) -> None:
        """A type may have 255 characters and no more."""
        assert Event("x", type="t" * 255).type == "t" * 255
        with pytest.raises(InvalidName, match="has 256 characters; 255 are allowed"):
            Event("x", type="t" * 256)

    @pytest.mark.parametrize("type", [None, 7, b"order", ["order"]])
    def test_other_than_str_is_refused(self, type: Any) -> None:
        """A type must be text; the error names the given type."""
        with pytest.raises(InvalidName, match=f"not {type.__class__.__name__}$"):
            Event("x", type=type)

    @pytest.mark.parametrize("type", ["\ud800", "a\udfffb", "\udce9t\udce9"])
    def test_surrogates_are_refused(self, type: str) -> None:
        """A lone surrogate has no UTF-8 form."""
        with pytest.raises(InvalidName, match="cannot be encoded as UTF-8"):
            Event("x", type=type)

    @pytest.mark.parametrize("type", ["connected", "ping", "reset", "open", "error"])
    def test_reserved_are_refused(self, type: str) -> None:
        """The stream's own types and those of EventSource cannot be published."""
        with pytest.raises(InvalidName, match=f"'{type}' is reserved"):
            Event("x", type=type)

    def test_the_name_of_all_types_is_refused(self) -> None:
        """In the browser client, handlers of "*" receive the events of every type."""
        with pytest.raises(InvalidName, match="stands for events of all types"):
            Event("x", type="*")

    def test_reserved_can_be_encoded(self) -> None:
        """The stream itself may write types that an app cannot publish."""
        assert parse(encode_block("{}", type="ping", event_id="a-1")) == [
            ParsedEvent("ping", "{}", "a-1")
        ]

    def test_checked_name_returns_the_name(self) -> None:
        """A valid name is returned unchanged."""
        assert (
            checked_name(" caf\u00e9: \u2028", what="a channel") == " caf\u00e9: \u2028"
        )


class TestData:
    """The data that an event may have."""

    @pytest.mark.parametrize("data", [None, 7, b"x", {"a": 1}])
    def test_other_than_str_is_refused(self, data: Any) -> None:
        """Data must be text; the error names the given type."""
        with pytest.raises(InvalidEvent, match=f"not {data.__class__.__name__}$"):
            Event(data)

    @pytest.mark.parametrize("data", ["\ud800", "a\udfffb", "x\n\udce9"])
    def test_surrogates_are_refused(self, data: str) -> None:
        """A lone surrogate is refused when the event is created, not when sent."""
        with pytest.raises(InvalidEvent, match="lone surrogates"):
            Event(data)


class TestRetry:
    """The reconnect delays that an event may have."""

    def test_default_is_none(self) -> None:
        """An event without a delay sends no delay."""
        assert Event("x").retry is None
        assert b"retry" not in Event("x").encode("a-1")

    @pytest.mark.parametrize("retry", [True, False, "5", b"5", Decimal(5), [5], 5j])
    def test_other_than_a_number_is_refused(self, retry: Any) -> None:
        """A delay must be an int or a float; a bool is refused."""
        with pytest.raises(InvalidEvent, match=f"not {type(retry).__name__}$"):
            Event("x", retry=retry)

    @pytest.mark.parametrize(
        "retry",
        [-1, -0.001, float("nan"), float("-inf")],
    )
    def test_out_of_range_is_refused(self, retry: float) -> None:
        """A delay that browsers cannot represent is refused with the valid range."""
        with pytest.raises(InvalidEvent, match=r"0 and 3600 seconds$"):
            Event("x", retry=retry)

    @pytest.mark.parametrize(
        "retry",
        [3600.001, 5000, 2_147_483, 10**400, float("inf")],
        ids=["just above", "milliseconds", "browsers", "endless", "inf"],
    )
    def test_above_an_hour_is_most_likely_in_milliseconds(self, retry: float) -> None:
        """A delay of weeks would keep every client away after the next cut."""
        with pytest.raises(InvalidEvent, match=r"0 and 3600 seconds\. A number of"):
            Event("x", retry=retry)

    def test_bounds_are_accepted(self) -> None:
        """Both ends of the range are valid."""
        shortest, longest = Event("x", retry=0), Event("x", retry=MAX_RETRY_SECONDS)
        assert shortest.encode("a-1").startswith(b"retry: 0\n")
        assert longest.encode("a-1").startswith(b"retry: 3600000\n")

    @pytest.mark.parametrize(
        ("seconds", "line"),
        [(0, "retry: 0\n"), (3, "retry: 3000\n"), (2.5, "retry: 2500\n")],
    )
    def test_retry_line_stands_alone(self, seconds: float, line: str) -> None:
        """No blank line follows the retry line: a blank line would commit an id."""
        assert encode_retry(seconds) == line

    def test_retry_line_changes_the_delay_alone(self) -> None:
        """A client applies the delay at once and sees neither an event nor an id."""
        parser = Parser()
        parser.feed(Event("x").encode("a-1"))
        assert parser.feed(encode_retry(2.5).encode()) == []
        assert (parser.retry_ms, parser.last_event_id) == (2500, "a-1")
        # The retry line does not affect the next block.
        assert parser.feed(Event("y").encode("a-2")) == [
            ParsedEvent("message", "y", "a-2")
        ]


class TestEvent:
    """Events are values."""

    def test_is_frozen(self) -> None:
        """A checked event cannot be made invalid afterwards."""
        event = Event("x")
        for name in ("data", "type", "retry"):
            with pytest.raises(FrozenInstanceError):
                setattr(event, name, "a\nb")

    def test_is_slotted(self) -> None:
        """An event uses no more memory than its fields need."""
        assert not hasattr(Event("x"), "__dict__")

    def test_compares_and_hashes_by_value(self) -> None:
        """Two events with the same fields are equal."""
        assert Event("x", type="a", retry=1) == Event("x", type="a", retry=1)
        assert len({Event("x"), Event("x"), Event("y")}) == 2

    def test_refusals_have_one_root(self) -> None:
        """One ``except`` clause catches every refusal."""
        with pytest.raises(SSEHubError):
            Event("x", type="")
        with pytest.raises(SSEHubError):
            Event("\ud800")

    def test_block_without_id_leaves_the_last_one(self) -> None:
        """Without an id the block writes none, and the client keeps its last id."""
        stream = Event("x").encode("a-1") + encode_block("y")
        assert encode_block("y") == b"data: y\n\n"
        assert parse(stream)[1] == ParsedEvent("message", "y", "a-1")

    def test_fields_precede_the_data(self) -> None:
        """A block that is cut inside large data has already sent its other fields."""
        event = Event("x\ny", type="order", retry=2)
        assert event.encode("a-1") == (
            b"retry: 2000\nid: a-1\nevent: order\ndata: x\ndata: y\n\n"
        )


class TestTextOf:
    """Published values are converted to text."""

    @pytest.mark.parametrize("data", ["", "x", '{"a": 1}', "a\r\nb", "\u2028"])
    def test_str_is_used_unchanged(self, data: str) -> None:
        """Text is never quoted or changed."""
        assert text_of(data, dumps=json.dumps) == data

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bytes_are_decoded(self, kind: Any) -> None:
        """Bytes of each kind are UTF-8. Line ends and a byte order mark are kept."""
        text = "\ufeffcaf\u00e9\r\n\u2028"
        assert text_of(kind(text.encode()), dumps=json.dumps) == text

    def test_strided_memoryview_is_decoded(self) -> None:
        """A view that skips bytes returns only the bytes that it shows."""
        assert text_of(memoryview(b"a-b-c")[::2], dumps=json.dumps) == "abc"

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    @pytest.mark.parametrize("data", [b"ab\xff", b"ab\xed\xa0\x80", b"ab\xe2\x82"])
    def test_bytes_that_are_not_utf8_are_refused(self, data: bytes, kind: Any) -> None:
        """The error names the position of the invalid byte and a remedy."""
        with pytest.raises(InvalidEvent, match=r"at byte 2.*Base64") as refusal:
            text_of(kind(data), dumps=json.dumps)
        assert isinstance(refusal.value.__cause__, UnicodeDecodeError)

    @pytest.mark.parametrize(
        "data", [None, True, 0, 1.5, [], {}, {"a": [1, None]}, ["\u2028\n"], (1, 2)]
    )
    def test_values_become_json(self, data: object) -> None:
        """All other values are written as JSON, including falsy ones."""
        assert text_of(data, dumps=json.dumps) == json.dumps(data)

    def test_the_given_serialiser_is_used(self) -> None:
        """The caller chooses how values are serialised."""
        assert text_of(Decimal("1.5"), dumps=str) == "1.5"

    @pytest.mark.parametrize("data", [object(), {1, 2}, {"a": b"x"}, io.BytesIO()])
    def test_unserialisable_values_are_refused(self, data: object) -> None:
        """The error names the type of the value that cannot be serialised."""
        with pytest.raises(
            InvalidEvent,
            match=f"of type {type(data).__name__} cannot be serialised as JSON: ",
        ) as refusal:
            text_of(data, dumps=json.dumps)
        assert isinstance(refusal.value.__cause__, TypeError)

    @pytest.mark.parametrize(
        ("data", "remedy"),
        [
            (Later(), "Async is not supported: pass its result"),
            ((n for n in "ab"), "A generator is for EventSourceResponse"),
            (len, r"Call the function: len\(\)"),
            (SimpleNamespace(event="note", data="x"), r"Use Event\(data, type=...\)"),
            (object(), "Pass plain values, or a Publisher with dumps="),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_the_error_names_the_remedy(self, data: object, remedy: str) -> None:
        """Objects that people have in hand are no data, and each has a way to be it."""
        with pytest.raises(InvalidEvent, match=remedy):
            text_of(data, dumps=json.dumps)

    def test_circular_values_are_refused(self) -> None:
        """A value that contains itself is refused if the serialiser detects it."""
        circular: list[object] = []
        circular.append(circular)
        with pytest.raises(
            InvalidEvent, match="of type list cannot be serialised as JSON"
        ):
            text_of(circular, dumps=json.dumps)

    def test_endless_recursion_is_refused(self) -> None:
        """A value that is nested too deeply for the serialiser is refused as well."""
        deep: list[object] = []
        deep.append(deep)
        with pytest.raises(
            InvalidEvent, match="cannot be serialised as JSON"
        ) as refusal:
            text_of(deep, dumps=json.JSONEncoder(check_circular=False).encode)
        assert isinstance(refusal.value.__cause__, RecursionError)

    def test_other_errors_of_the_serialiser_pass(self) -> None:
        """An error that does not concern the data is not reported as one that does."""

        def broken(data: object) -> str:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            text_of({}, dumps=broken)
