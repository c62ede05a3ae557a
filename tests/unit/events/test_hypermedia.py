"""Events that put HTML into a page: Turbo Streams and Datastar's patches."""

import enum
import json
from html.parser import HTMLParser
from typing import Any

import pytest
from datastar_py import ServerSentEventGenerator
from datastar_py.consts import ElementPatchMode, ElementPatchNamespace
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from flask_sse_hub import (
    Event,
    InvalidEvent,
    datastar_patch,
    datastar_signals,
    turbo_stream,
)
from flask_sse_hub.events.hypermedia import DATASTAR_MODES, TURBO_ACTIONS
from tests.kit.sse_parser import ParsedEvent, parse

# Text that an attacker could type to take over the page.
HOSTILE = [
    '"><script>alert(1)</script>',
    "' onload='x",
    "a\nevent: open\ndata: b",
    "a\r\n\r\ndata: b",
    "]]>",
    "<!--",
    "&quot;&amp;",
    "\u2028",
    "\U0001f4e6",
    " ",
]

# Surrogates cannot be encoded, which Event refuses; HTML has no NUL, and no CR in text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


class Tags(HTMLParser):
    """The start tags of an HTML text, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


class Mode(str, enum.Enum):  # noqa: UP042
    """An enum of the usual kind, which str() would show as Mode.APPEND."""

    APPEND = "append"


class TestTurboStream:
    def test_the_event_is_the_markup_that_turbo_reads(self) -> None:
        """The event has no type, because turbo-stream-source listens to no other."""
        assert turbo_stream("append", "messages", "<p>hello</p>") == Event(
            '<turbo-stream action="append" target="messages">'
            "<template><p>hello</p></template></turbo-stream>"
        )

    @pytest.mark.parametrize("action", sorted(set(TURBO_ACTIONS) - {"refresh"}))
    def test_each_action_takes_an_id_or_a_selector(self, action: str) -> None:
        """The id or the selector is in the attribute of that name."""
        for name in ("target", "targets"):
            event = turbo_stream(action, **{name: "x"})  # type: ignore[arg-type]
            assert f'<turbo-stream action="{action}" {name}="x">' in event.data

    def test_removing_and_refreshing_have_no_template(self) -> None:
        """These two actions have no content to put anywhere."""
        assert turbo_stream("remove", targets=".old").data == (
            '<turbo-stream action="remove" targets=".old"></turbo-stream>'
        )
        assert turbo_stream("refresh", morph=True, request_id="r-1").data == (
            '<turbo-stream action="refresh" method="morph" request-id="r-1">'
            "</turbo-stream>"
        )

    @pytest.mark.parametrize("action", ["replace", "update"])
    def test_replace_and_update_can_morph(self, action: str) -> None:
        """The event has the `method` attribute that Turbo looks for."""
        assert ' method="morph"' in turbo_stream(action, "x", "y", morph=True).data

    @pytest.mark.parametrize("value", [*HOSTILE, Markup('a"b&amp;')], ids=repr)
    @pytest.mark.parametrize("name", ["target", "targets"])
    def test_a_value_cannot_break_out_of_its_attribute(
        self, name: str, value: str
    ) -> None:
        """Hostile text in an attribute stays the value of that attribute."""
        event = turbo_stream("append", html="y", **{name: value})  # type: ignore[arg-type]
        assert Tags(event.data).found == [
            ("turbo-stream", {"action": "append", name: value}),
            ("template", {}),
        ]

    @given(TEXTS.filter(bool))
    def test_no_text_breaks_out_of_an_attribute(self, value: str) -> None:
        """The rule holds for any text."""
        stream = ("turbo-stream", {"action": "remove", "target": value})
        assert Tags(turbo_stream("remove", value).data).found == [stream]

    def test_html_stays_as_it_is(self) -> None:
        """The template that rendered the HTML has escaped it, into Markup or str."""
        for html in ("<b>&amp;</b>\n]]>\u2028", Markup("<b>&amp;</b>"), ""):
            event = turbo_stream("append", "x", html)
            assert f"<template>{html!s}</template>" in event.data
            assert type(event.data) is str

    def test_html_may_have_templates_of_its_own(self) -> None:
        """Each inner template has its end tag, at any depth."""
        html = "<TEMPLATE id=a><template></template></template ><templates></templates>"
        assert html in turbo_stream("append", "x", html).data

    @pytest.mark.parametrize(
        "html",
        [
            "</template>",
            "a</TEMPLATE >b",
            "<template>",
            "</template><template>",
            "<template/></template></template>",
            "</template\n>",
            "<template",
        ],
    )
    def test_html_cannot_end_the_template(self, html: str) -> None:
        """Turbo would drop the rest of the HTML, or all of it."""
        with pytest.raises(InvalidEvent, match="template"):
            turbo_stream("append", "x", html)

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"action": "add", "target": "x"}, "use one of append"),
            ({"action": "", "target": "x"}, "no action"),
            ({"action": ["append"], "target": "x"}, "no action"),
            ({"action": "append"}, "either target"),
            ({"action": "append", "target": "x", "targets": ".x"}, "either target"),
            ({"action": "append", "target": ""}, "not empty"),
            ({"action": "append", "target": 7}, "must be a str"),
            ({"action": "append", "targets": ""}, "not empty"),
            ({"action": "append", "target": "x", "html": None}, "html must be a str"),
            ({"action": "append", "target": "x", "html": b"x"}, "html must be a str"),
            ({"action": "append", "target": "x", "morph": True}, "cannot morph"),
            ({"action": "append", "target": "x", "request_id": "r"}, "for refresh"),
            ({"action": "remove", "target": "x", "html": "y"}, "takes no html"),
            ({"action": "refresh", "html": "y"}, "takes no html"),
            ({"action": "refresh", "target": "x"}, "whole page"),
            ({"action": "refresh", "targets": ".x"}, "whole page"),
            ({"action": "refresh", "request_id": ""}, "not empty"),
        ],
        ids=str,
    )
    def test_an_event_that_turbo_would_ignore_is_refused(
        self, arguments: dict[str, Any], text: str
    ) -> None:
        """The error is raised on the server and not in a browser's console."""
        with pytest.raises(InvalidEvent, match=text):
            turbo_stream(**arguments)

    def test_an_enum_member_is_written_as_its_value(self) -> None:
        """The str() of the member does not matter."""
        assert ' action="append"' in turbo_stream(Mode.APPEND, "x").data


def lines_of(event: Event) -> ParsedEvent:
    """Return an event as a client sees it."""
    (seen,) = parse(event.encode("1-1"))
    return seen


def as_its_authors_do(text: str) -> ParsedEvent:
    """Return an event by Datastar's own package as a client sees it."""
    (seen,) = parse(text.encode())
    return seen


class TestDatastarPatch:
    @pytest.mark.parametrize("mode", sorted(set(DATASTAR_MODES) - {"remove"}))
    @pytest.mark.parametrize("namespace", ["html", "svg", "mathml"])
    @pytest.mark.parametrize("view_transition", [False, True])
    def test_a_patch_equals_that_of_datastars_own_package(
        self, mode: str, namespace: str, view_transition: bool
    ) -> None:
        """Each line of the elements becomes a line of its own."""
        elements = '<p id="a">\n  b: \U0001f4e6\n</p>'
        ours = datastar_patch(
            elements,
            selector="#x",
            mode=mode,
            namespace=namespace,
            view_transition=view_transition,
        )
        theirs = ServerSentEventGenerator.patch_elements(
            elements,
            selector="#x",
            mode=ElementPatchMode(mode),
            namespace=ElementPatchNamespace(namespace),
            use_view_transition=view_transition,
            event_id="1-1",
        )
        assert lines_of(ours) == as_its_authors_do(theirs)

    def test_removing_takes_a_selector_alone(self) -> None:
        """The event equals that of Datastar's own package."""
        theirs = ServerSentEventGenerator.remove_elements("#x, .y", event_id="1-1")
        ours = datastar_patch(selector="#x, .y", mode="remove")
        assert lines_of(ours) == as_its_authors_do(theirs)

    @pytest.mark.parametrize("elements", HOSTILE, ids=repr)
    def test_no_elements_become_another_argument(self, elements: str) -> None:
        """Each line begins with `elements`, whatever text it holds."""
        lines = datastar_patch(elements).data.split("\n")
        assert all(line.startswith("elements ") for line in lines)

    @given(TEXTS.filter(bool))
    def test_any_elements_arrive_whole(self, elements: str) -> None:
        """Line ends that Python knows and the wire does not are kept."""
        lines = lines_of(datastar_patch(elements)).data.split("\n")
        assert "\n".join(line.removeprefix("elements ") for line in lines) == elements

    def test_every_line_end_of_the_wire_ends_a_line(self) -> None:
        """CR and CRLF end a line too and arrive as LF."""
        assert datastar_patch("a\r\nb\rc\nd").data == (
            "elements a\nelements b\nelements c\nelements d"
        )

    def test_an_element_may_be_emptied(self) -> None:
        """Empty elements in the mode `inner` empty the element."""
        event = datastar_patch(selector="#x", mode="inner")
        assert event.data == "mode inner\nselector #x\nelements "

    def test_markup_is_html_like_any_other(self) -> None:
        """Markup is taken as HTML, and the event's data is a plain str."""
        event = datastar_patch(Markup("<i id=x>&amp;</i>"), selector=Markup("a > b"))
        assert event.data == "selector a > b\nelements <i id=x>&amp;</i>"
        assert type(event.data) is str

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({}, "needs elements"),
            ({"elements": None}, "must be a str"),
            ({"elements": b"x"}, "must be a str"),
            ({"elements": "x", "mode": "morph"}, "use one of outer"),
            ({"elements": "x", "mode": ["inner"]}, "no mode"),
            ({"elements": "x", "mode": "append"}, "needs a selector"),
            ({"mode": "remove"}, "needs a selector"),
            (
                {"elements": "x", "mode": "remove", "selector": "#x"},
                "leave out elements",
            ),
            ({"elements": "x", "selector": ""}, "not empty"),
            ({"elements": "x", "selector": 7}, "must be a str"),
            ({"elements": "x", "selector": "#a\nelements b"}, "more than one line"),
            ({"elements": "x", "selector": "#a\rmode remove"}, "more than one line"),
            ({"elements": "x", "namespace": "xml"}, "one of html, svg"),
        ],
        ids=str,
    )
    def test_an_event_that_datastar_would_ignore_is_refused(
        self, arguments: dict[str, Any], text: str
    ) -> None:
        """The error is raised on the server and not in a browser's console."""
        with pytest.raises(InvalidEvent, match=text):
            datastar_patch(**arguments)

    def test_an_enum_member_is_written_as_its_value(self) -> None:
        """The str() of the member does not matter."""
        event = datastar_patch("x", selector="#x", mode=Mode.APPEND)
        assert event.data.startswith("mode append\n")


class TestDatastarSignals:
    @pytest.mark.parametrize("only_if_missing", [False, True])
    def test_signals_equal_those_of_datastars_own_package(
        self, only_if_missing: bool
    ) -> None:
        """Only the spaces in the JSON differ."""
        signals: Any = {"a": {"b": [1, None, "\n\u2028\U0001f4e6</script>"]}, "c": None}
        theirs = as_its_authors_do(
            ServerSentEventGenerator.patch_signals(
                signals, only_if_missing=only_if_missing, event_id="1-1"
            )
        )
        ours = lines_of(datastar_signals(signals, only_if_missing=only_if_missing))
        assert (ours.type, ours.id) == (theirs.type, theirs.id)
        *options, sent = ours.data.split("\n")
        *their_options, their_sent = theirs.data.split("\n")
        assert options == their_options
        assert json.loads(sent.removeprefix("signals ")) == signals
        assert json.loads(their_sent.removeprefix("signals ")) == signals

    @given(st.dictionaries(TEXTS, TEXTS))
    def test_any_signals_are_one_line(self, signals: dict[str, str]) -> None:
        """JSON escapes every line end inside a string."""
        data = datastar_signals(signals).data
        assert json.loads(data.removeprefix("signals ")) == signals
        assert len(data.splitlines()) == 1

    @pytest.mark.parametrize(
        "signals",
        [None, "{}", [1], {"a": object()}, {"a": float("nan")}, {("a", 1): 2}],
        ids=repr,
    )
    def test_signals_without_a_json_form_are_refused(self, signals: Any) -> None:
        """Signals are an object, and JavaScript cannot read NaN from JSON."""
        with pytest.raises(InvalidEvent):
            datastar_signals(signals)
