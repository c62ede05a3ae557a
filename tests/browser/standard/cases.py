"""Answers of a server, and what a client makes of them by the HTML standard.

After an answer that does not end the stream, a client comes back. Its second request is
answered with 204, which ends every client.
"""

from dataclasses import dataclass, field
from typing import Any

STREAM = "text/event-stream"

#: An event: its type, its data, and the id of the stream after it.
Event = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One answer, and the events that it contains."""

    name: str
    #: The standard's events.
    events: list[Event] = field(default_factory=list)
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    #: Whether the client comes back, and the Last-Event-ID that it then sends.
    returns: bool = True
    sends: str | None = None
    #: Whether the page belongs to another origin than the answer.
    is_cross: bool = False
    is_redirected: bool = False
    credentials: str = "same-origin"


def read(name: str, body: str | bytes, *events: Event, sends: str = "") -> Case:
    """Return the case of a stream that is read."""
    if isinstance(body, str):
        body = body.encode()
    # The byte order mark has to stay the first byte.
    body = body if body.startswith(b"\xef\xbb\xbf") else b"retry: 100\n" + body
    last = sends or (events[-1][2] if events else "")
    return Case(
        name=name,
        body=body,
        events=[*events],
        headers={"Content-Type": STREAM},
        sends=last or None,
    )


def m(data: str, last: str = "", type: str = "message") -> Event:
    return (type, data, last)


BOM = b"\xef\xbb\xbf"

FORMAT = [
    read("one line", "data: a\n\n", m("a")),
    read("bom", BOM + b"data:1\n\ndata:2\n\nretry: 100\n", m("1"), m("2")),
    read("bom twice", BOM * 2 + b"data:1\n\ndata:2\n\nretry: 100\n", m("2")),
    read("bom later", b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n", m("1"), m("3")),
    read(
        "comments",
        f"data:1\n:\0\n:\ndata:2\n:{'long' * 999}\ndata:3\n:data:fail\n:"
        + "a" * 2000
        + "\ndata:4\n\n",
        m("1\n2\n3\n4"),
    ),
    read(
        "data before the final empty line",
        "data:test1\n\nid:test\ndata:test2",
        m("test1"),
    ),
    read("no final empty line after data", "data:a\n\ndata:b\n", m("a")),
    read(
        "field data", "data:\n\ndata\ndata\n\ndata:test\n\n", m(""), m("\n"), m("test")
    ),
    read("data of two lines", "data:a\ndata:b\n\n", m("a\nb")),
    read("data that ends empty", "data:a\ndata\n\n", m("a\n")),
    read("data that begins empty", "data\ndata:a\n\n", m("\na")),
    read(
        "one space is left out",
        "data: a\n\ndata:b\n\ndata:  c\n\n",
        m("a"),
        m("b"),
        m(" c"),
    ),
    read("a tab is not", "data:\ta\n\n", m("\ta")),
    read("a space before the colon", "data : a\ndata: b\n\n", m("b")),
    read("a leading space", " data: a\ndata: b\n\n", m("b")),
    read("colons in data", "data:a:b: c\n\n", m("a:b: c")),
    read("an empty name", ":a\n: b\ndata: c\n\n", m("c")),
    read(
        "unknown fields",
        "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\n\n",
        m("test\n"),
    ),
    read("other case", "Data: a\nDATA: b\ndata: c\n\n", m("c")),
    read(
        "field parsing",
        "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\rdata:3\0\ndata :4\ndata: \n"
        "data:4\n\n",
        m("\0\n 2\n1\n3\0\n\n4"),
    ),
    read("null character", "data:\0\n\n\n\n", m("\0")),
    read(
        "field event", "event:test\ndata:x\n\ndata:x\n\n", m("x", type="test"), m("x")
    ),
    read("field event empty", "event: \ndata:data\n\n", m("data")),
    read("field event twice", "event:a\nevent:b\ndata:x\n\n", m("x", type="b")),
    read("field event without data", "event:test\n\ndata:x\n\n", m("x")),
    read("field event without value", "event:test\nevent\ndata:x\n\n", m("x")),
    read("types of two spaces", "event:  test\ndata:x\n\n", m("x", type=" test")),
    read("field id", "data: 1\nid: 1\n\ndata: 2\n\n", m("1", "1"), m("2", "1")),
    read("field id beyond ASCII", "id: …\ndata: hello\n\n", m("hello", "…")),
    read("field id of Latin 1", "id: é\ndata: hello\n\n", m("hello", "é")),
    read("field id empty", "id: 1\ndata: 1\n\nid\ndata: 2\n\n", m("1", "1"), m("2")),
    read(
        "field id empty with a colon",
        "id: 1\ndata: 1\n\nid:\ndata: 2\n\n",
        m("1", "1"),
        m("2"),
    ),
    read("field id with a null", "id: \0 a\ndata: 1\n\n", m("1")),
    read(
        "field id with a null keeps the last",
        "id: 7\ndata: 0\n\nid: 8\0\ndata: 1\n\n",
        m("0", "7"),
        m("1", "7"),
    ),
    read("field id twice", "id: 1\nid: 2\ndata: x\n\n", m("x", "2")),
    read("field id without data", "id: 7\n\n", sends="7"),
    read("field id without data and then data", "id: 7\n\ndata: x\n\n", m("x", "7")),
    read("field id without an end", "data: 0\n\nid: 7\n", m("0")),
    read("field id with inner spaces", "id: a  b\ndata: x\n\n", m("x", "a  b")),
    read("field id of two spaces", "id:  a\ndata: x\n\n", (m("x", " a")), sends="a"),
    read("field id with a tab inside", "id: a\tb\ndata: x\n\n", m("x", "a\tb")),
    read(
        "field id with a control character", "id: a\x01b\ndata: x\n\n", m("x", "a\x01b")
    ),
    read(
        "field id with a delete character", "id: a\x7fb\ndata: x\n\n", m("x", "a\x7fb")
    ),
    read(
        "field id of 4,000 characters",
        f"id: {'7' * 4000}\ndata: x\n\n",
        m("x", "7" * 4000),
    ),
    read("field retry", "retry:50\nretry:100\ndata:x\n\n", m("x")),
    read("field retry with zeros", "retry:03\nretry:0100\ndata:x\n\n", m("x")),
    read("field retry bogus", "retry:1000x\ndata:x\n\n", m("x")),
    read("field retry empty", "retry\ndata:test\n\n", m("test")),
    read("field retry with a sign", "retry:+5\nretry:-5\ndata:x\n\n", m("x")),
    read(
        "newlines",
        "data:test\r\n\ndata:test\n\rdata:test\r\n\r\n",
        m("test"),
        m("test"),
        m("test"),
    ),
    read(
        "newlines mixed in one event",
        "data:a\rdata:b\ndata:c\r\ndata:d\r\r",
        m("a\nb\nc\nd"),
    ),
    read("CR CR at the end", "data:a\r\r", m("a")),
    read("CRLF CR at the end", "data:a\r\n\r", m("a")),
    read("LF CR at the end", "data:a\n\r", m("a")),
    read(
        "CRLF at the end",
        "data:a\r\n",
    ),
    read(
        "other newlines are data",
        "data:a\u2028b\u2029c\x0bd\x0ce\x85f\n\n",
        m("a\u2028b\u2029c\x0bd\x0ce\x85f"),
    ),
    read("utf-8", "data:oknähä\n\n", m("oknähä")),
    read("beyond the basic plane", "data:🎉\n\n", m("🎉")),
    read("broken utf-8", b"data:a\xffb\n\n", m("a\ufffdb")),
    read("cut utf-8", b"data:a\xe2\x82\n\n", m("a\ufffd")),
    read("an overlong form", b"data:\xc0\xaf\n\n", m("\ufffd\ufffd")),
    read("a surrogate", b"data:\xed\xa0\x80\n\n", m("\ufffd\ufffd\ufffd")),
    read("many empty lines", "\n\n\n\ndata:a\n\n\n\n", m("a")),
    read("only a comment", ": hello\n\n"),
    read("nothing", ""),
    read("a long line", f"data:{'x' * 100_000}\n\n", m("x" * 100_000)),
    read(
        "500 events",
        "".join(f"id:{n}\ndata:{n}\n\n" for n in range(500)),
        *(m(f"{n}", f"{n}") for n in range(500)),
    ),
    read(
        "a type of the prototype",
        "event:__proto__\ndata:x\n\nevent:toString\ndata:y\n\n",
        m("x", type="__proto__"),
        m("y", type="toString"),
    ),
    read("types error and open", "event:open\ndata:x\n\n", m("x", type="open")),
]

A = [m("a")]
_BODY = b"retry: 100\ndata:a\n\n"


def answer(
    name: str,
    status: int = 200,
    *,
    type: str | None = STREAM,
    is_read: bool = False,
    **more: Any,
) -> Case:
    """Return the case of an answer, which is read or ends the stream."""
    headers = {} if type is None else {"Content-Type": type}
    return Case(
        name=name,
        status=status,
        body=b"" if status in (204, 304) else _BODY,
        headers=headers | more.pop("headers", {}),
        events=A if is_read else [],
        returns=is_read,
        **more,
    )


TYPES = [
    answer("type in capitals", type="TEXT/Event-Stream", is_read=True),
    answer("type with a semicolon", type="text/event-stream;", is_read=True),
    answer("type with utf-8", type="text/event-stream;charset=utf-8", is_read=True),
    answer(
        "type with another charset",
        type="text/event-stream;charset=windows-1252",
        is_read=True,
    ),
    answer("type with a bogus parameter", type="text/event-stream;a=b;c", is_read=True),
    answer("type with a space", type="text/event-stream ; charset=utf-8", is_read=True),
    answer("type bogus", type="text/event-stream-bogus"),
    answer("type bogus with a dot", type="text/event-stream.x"),
    answer("type of a prefix", type="x-text/event-stream"),
    answer("type x bogus", type="x bogus"),
    answer("type of text", type="text/plain"),
    answer("type of HTML", type="text/html"),
    answer("type of JSON", type="application/json"),
    answer("type of DOM events", type="application/x-dom-event-stream"),
    answer("no type", type=None),
    answer("an empty type", type=""),
]

STATUSES = [
    answer(f"status {status}", status)
    for status in (
        *(201, 202, 203, 204, 205, 206, 210, 299, 304),
        *(400, 401, 403, 404, 405, 408, 410, 418, 425, 429),
        *(500, 502, 503, 504, 599),
    )
]

_TO = {"Location": "{self}&redirected=1"}

REDIRECTS = [
    *(
        answer(
            f"redirect {status}",
            status,
            type=None,
            headers=_TO,
            is_read=True,
            is_redirected=True,
        )
        for status in (301, 302, 303, 307, 308)
    ),
    answer("redirect without a place", 302, type=None),
    answer("redirect to itself", 302, type=None, headers={"Location": "{self}"}),
]

_ALLOWS = {"Access-Control-Allow-Origin": "{origin}"}
_ALLOWS_COOKIES = {**_ALLOWS, "Access-Control-Allow-Credentials": "true"}

ORIGINS = [
    answer("another origin that allows", is_cross=True, headers=_ALLOWS, is_read=True),
    answer(
        "another origin that allows all",
        is_cross=True,
        headers={"Access-Control-Allow-Origin": "*"},
        is_read=True,
    ),
    answer(
        "another origin that allows cookies",
        is_cross=True,
        credentials="include",
        headers=_ALLOWS_COOKIES,
        is_read=True,
    ),
    answer("another origin that says nothing", is_cross=True),
    answer(
        "another origin that allows others",
        is_cross=True,
        headers={"Access-Control-Allow-Origin": "http://example.com"},
    ),
    answer(
        "another origin that allows no cookies",
        is_cross=True,
        credentials="include",
        headers=_ALLOWS,
    ),
    answer(
        "another origin that allows all but cookies",
        is_cross=True,
        credentials="include",
        headers={"Access-Control-Allow-Origin": "*"},
    ),
]

CASES = {case.name: case for case in [*FORMAT, *TYPES, *STATUSES, *REDIRECTS, *ORIGINS]}

#: Statuses that say that the same request may succeed later.
_PASSING = "an EventSource would never come back after a deployment or a full server"

#: Cases in which our client does something else than the standard, and why.
OTHERWISE = {
    **{
        f"status {status}": _PASSING
        for status in (408, 425, 429, 500, 502, 503, 504, 599)
    },
    "redirect to itself": "a script cannot tell it from a network that is away",
}

#: The same of one engine.
OTHERWISE_IN = {
    "node": dict.fromkeys(
        ["field id with a control character", "field id with a delete character"],
        "Node.js sends no such header. Ids of a hub have no such characters",
    ),
    "webkit": dict.fromkeys(
        ["field id beyond ASCII", "field id of Latin 1"],
        "WebKit encodes the bytes of a header again. Ids of a hub are ASCII",
    ),
}
