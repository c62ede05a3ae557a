"""The samples and whole streams as seen by parsers of other authors."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.sse_parser import ParsedEvent
from tests.wire.parsers import PARSERS, Parser, in_browser, in_node
from tests.wire.samples import SAMPLES, Sample
from tests.wire.streams import STREAMS, Stream

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

CASES: tuple[Sample | Stream, ...] = (*SAMPLES, *STREAMS)


def events_of(case: Sample | Stream) -> list[ParsedEvent]:
    return [case.seen] if isinstance(case, Sample) else case.seen


def _marked(parser: Parser) -> "ParameterSet":
    marks = () if parser.decode else (pytest.mark.browser,)
    return pytest.param(parser, id=parser.name, marks=marks)


@pytest.mark.parametrize("parser", [_marked(parser) for parser in PARSERS])
def test_a_parser_sees_exactly_the_events(
    parser: Parser, request: pytest.FixtureRequest
) -> None:
    """Each event is seen as it was meant, and comments and retries make no event.

    The table of parsers says how some of them differ from the standard.
    """
    streams = [case.encoded for case in CASES]
    if parser.decode is not None:
        decoded = parser.decode(streams)
    else:
        chromium: Any = request.getfixturevalue("chromium")
        types = {
            "message",
            *(event.type for case in CASES for event in events_of(case)),
        }
        decoded = in_browser(chromium, parser.package, types, streams)
    seen = {case.name: each.events for case, each in zip(CASES, decoded, strict=True)}
    assert seen == {case.name: parser.expected(events_of(case)) for case in CASES}


def test_a_parser_reads_each_retry() -> None:
    """The parser behind most JavaScript clients tells the delay, in milliseconds."""
    decoded = in_node("eventsource-parser")([sample.encoded for sample in SAMPLES])
    for sample, each in zip(SAMPLES, decoded, strict=True):
        told = [] if sample.retry_ms is None else [sample.retry_ms]
        assert (each.retries, each.errors) == (told, []), sample.name


@pytest.mark.parametrize("differs", [True, False])
def test_the_table_has_a_reason_for_each_difference(differs: bool) -> None:
    """A parser differs in at least one case if and only if the table says why."""
    events = [event for case in CASES for event in events_of(case)]
    for each in PARSERS:
        if bool(each.why) == differs:
            assert any(each.sees(event) != event for event in events) == differs
