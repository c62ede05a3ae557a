"""Events that are hard to transmit, and the event that a client must see for each.

One table serves every parser: the tests' own, an npm package and a browser. The seen
events are written out, since computing them would repeat the package's own rules.
"""

from dataclasses import dataclass

import pytest

from flask_sse_hub.events.event import MAX_NAME_CHARS, MESSAGE, Event
from tests.kit.sse_parser import ParsedEvent


@dataclass(frozen=True, slots=True)
class Sample:
    """An event, the id it is sent under, and the event that a client must see."""

    name: str
    event: Event
    event_id: str
    seen: ParsedEvent
    retry_ms: int | None

    @property
    def encoded(self) -> bytes:
        """The event's block, as the package writes it."""
        return self.event.encode(self.event_id)


def sample(
    name: str,
    data: str,
    *,
    seen: str | None = None,
    type: str = MESSAGE,
    event_id: str = "k3x9-41",
    retry: float | None = None,
    retry_ms: int | None = None,
) -> Sample:
    """Return a sample; ``seen`` is the seen data where it differs from ``data``."""
    return Sample(
        name=name,
        event=Event(data, type=type, retry=retry),
        event_id=event_id,
        seen=ParsedEvent(type, data if seen is None else seen, event_id),
        retry_ms=retry_ms,
    )


SAMPLES = (
    sample("plain", "hello"),
    sample("json", '{"id": 7, "name": "caf\\u00e9", "tags": ["a", "b"]}'),
    # Data that a parser might trim or take for no data at all.
    sample("empty", ""),
    sample("space", " "),
    sample("leading-space", " x"),
    sample("leading-spaces", "   x"),
    sample("leading-space-in-each-line", " a\n  b\n c"),
    sample("trailing-space", "x "),
    sample("leading-tab", "\tx"),
    sample("leading-colon", ":x"),
    sample("colon", ":"),
    sample("leading-space-and-colon", " : x"),
    # Line ends: they are written in three ways and seen in one.
    sample("lf", "a\nb"),
    sample("cr", "a\rb", seen="a\nb"),
    sample("crlf", "a\r\nb", seen="a\nb"),
    sample("lfcr", "a\n\rb", seen="a\n\nb"),
    sample("crcrlf", "a\r\r\nb", seen="a\n\nb"),
    sample("mixed-line-ends", "a\nb\rc\r\nd\n\re", seen="a\nb\nc\nd\n\ne"),
    sample("blank-line", "a\n\nb"),
    sample("leading-lf", "\nx"),
    sample("trailing-lf", "x\n"),
    sample("trailing-lfs", "x\n\n\n"),
    sample("trailing-cr", "x\r", seen="x\n"),
    sample("trailing-crlf", "x\r\n", seen="x\n"),
    sample("only-lf", "\n"),
    sample("only-lfs", "\n\n\n"),
    sample("only-cr", "\r", seen="\n"),
    sample("only-crlfs", "\r\n\r\n", seen="\n\n"),
    # Characters that str.splitlines takes for a line end and the standard does not.
    sample("line-separator", "a\u2028b"),
    sample("paragraph-separator", "a\u2029b"),
    sample("vertical-tab", "a\x0bb"),
    sample("form-feed", "a\x0cb"),
    sample("next-line", "a\x85b"),
    sample("file-separator", "a\x1cb"),
    sample("group-separator", "a\x1db"),
    sample("record-separator", "a\x1eb"),
    sample("no-line-ends-alone", "\u2028\u2029\x0b\x0c\x85\x1c\x1d\x1e"),
    # Characters that decoders stop at, drop or replace.
    sample("nul", "a\0b"),
    sample("nul-alone", "\0"),
    sample("leading-bom", "\ufeffx"),
    sample("inner-bom", "a\ufeffb\n\ufeffc"),
    sample("bom-alone", "\ufeff"),
    sample("no-characters", "\ufffd\ufffe\uffff\U0010ffff"),
    sample("controls", "\x01\x07\x08\x1b[31m\x7f\x9f"),
    sample("emoji", "\U0001f469\u200d\U0001f52c\U0001f1e9\U0001f1ea\u2764\ufe0f"),
    sample("combining", "e\u0301 \u00e9 a\u0308\u0323"),
    sample("right-to-left", "\u202e\u0645\u0631\u062d\u0628\u0627\u202c"),
    # Data that looks like fields of the wire.
    sample("data-field-as-text", "data: x"),
    sample("id-field-as-text", "x\nid: 7"),
    sample("event-field-as-text", "x\nevent: forged\ndata: y"),
    sample("retry-field-as-text", "retry: 1\nx"),
    sample("block-as-text", "x\n\nevent: forged\ndata: y\n\n"),
    sample("comment-as-text", "x\n: y"),
    # Large data, in one line and in many.
    sample("200-kb-line", "0123456789abcdef" * 12_500),
    sample("200-kb-multibyte-line", "\u20ac" * 66_667),
    sample(
        "200-kb-of-lines",
        "0123456789abcd\r\n" * 12_500,
        seen=("0123456789abcd\n" * 12_500),
    ),
    # Types.
    sample("type", "x", type="order"),
    sample("type-of-empty-data", "", type="order"),
    sample("type-with-spaces", "x", type="new order placed"),
    sample("type-with-leading-space", "x", type=" order"),
    sample("type-with-trailing-space", "x", type="order "),
    sample("type-of-space", "x", type=" "),
    sample("type-with-colons", "x", type="shop:order: placed"),
    sample("type-with-leading-colon", "x", type=":order"),
    sample("type-of-colon", "x", type=":"),
    sample("type-with-unicode", "x", type="Bestellung f\u00fcr M\u00fcller \U0001f4e6"),
    sample("type-with-line-separator", "x", type="a\u2028b\x0bc\x85d"),
    sample("type-with-bom", "x", type="\ufefforder"),
    sample("type-like-a-field", "x", type="data: y"),
    sample("type-of-zero", "x", type="0"),
    sample("type-in-another-case", "x", type="Message"),
    sample("type-almost-reserved", "x", type="ERROR"),
    sample("longest-type", "x", type="\U0001f4e6" * MAX_NAME_CHARS),
    # Ids.
    sample("id-zero", "x", event_id="0"),
    sample("id-zeros", "x", event_id="00"),
    sample("id-zero-offset", "x", event_id="0-0"),
    sample("id-minus-zero", "x", event_id="-0"),
    sample("id-false", "x", event_id="false"),
    sample("id-with-spaces", "x", event_id=" a b "),
    sample("id-with-colon", "x", event_id=":a:b"),
    # Retry.
    sample("retry-zero", "x", retry=0, retry_ms=0),
    sample("retry-with-fraction", "x", retry=2.5, retry_ms=2500),
    sample("retry-below-a-millisecond", "x", retry=0.0001, retry_ms=0),
    sample("longest-retry", "x", retry=3600, retry_ms=3_600_000),
    sample(
        "all-fields",
        "a\r\n b\n",
        seen="a\n b\n",
        type="order placed",
        event_id="k3x9-42",
        retry=3,
        retry_ms=3000,
    ),
)

#: Runs a test once per sample, with the sample's name as the test id.
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.name)
