"""Traces and breadcrumbs: the only module that knows OpenTelemetry and Sentry.

Neither is imported here unless the app has imported it. An app without them pays for
two look-ups in ``sys.modules`` at each publish. Knows names and plain attributes. Does
not know events or records.

A place in a trace travels as a ``traceparent``, the text of W3C Trace Context.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Any, Literal, Self

from .coded_log import CodedLog
from .rare_log import RareLog

log = CodedLog(__name__)
_rare_log = RareLog(log)

#: Plain values that describe a step. They hold no payloads and no ids of people.
Attributes = Mapping[str, str | int | float | Sequence[str]]

_OPENTELEMETRY = "opentelemetry.trace"
_SENTRY = "sentry_sdk"

# Version 00 of the format. Source: W3C Trace Context, section 3.2.
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)


def is_on() -> bool:
    """Tell whether the app has imported OpenTelemetry or Sentry."""
    return _OPENTELEMETRY in sys.modules or _SENTRY in sys.modules


def is_traceparent(text: str) -> bool:
    """Tell whether a text has the form of a traceparent."""
    return _TRACEPARENT.fullmatch(text) is not None


def trace_id(traceparent: str) -> str:
    """Return the id of the trace that a traceparent belongs to."""
    return traceparent.split("-")[1]


def here() -> str | None:
    """Return the traceparent of the calling code, None outside of a trace."""
    found = None
    if (api := _opentelemetry()) is not None:
        with _sheltered():
            found = _text(api.get_current_span().get_span_context())
    return found


class Step:
    """A span around a block, as a context manager.

    A step that ``follows`` a place of another trace, or of an earlier step, links to
    it. An error of the block is noted. An error of the app's tracing is only logged.
    """

    def __init__(
        self,
        name: str,
        *,
        kind: Literal["PRODUCER", "CONSUMER"],
        attributes: Attributes,
        follows: str | None = None,
    ) -> None:
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._follows = follows
        self._manager: Any = None
        self._span: Any = None
        #: The place of this step for others, None if nothing traces it.
        self.traceparent: str | None = None

    def __enter__(self) -> Self:
        """Begin the span as a child of the current one."""
        if (api := _opentelemetry()) is not None:
            with _sheltered():
                manager = _tracer().start_as_current_span(
                    self._name,
                    kind=api.SpanKind[self._kind],
                    attributes=self._attributes,
                    links=self._links(api),
                )
                self._span = manager.__enter__()
                self._manager = manager
                self.traceparent = _text(self._span.get_span_context())
        return self

    def _links(self, api: Any) -> list[Any]:
        if self._follows is None or self._follows == here():
            return []
        place = _context(api, self._follows)
        return [api.Link(place)] if place.is_valid else []

    def note(self, name: str, value: str | int) -> None:
        """Add an attribute that is known only now."""
        if self._span is not None:
            with _sheltered():
                self._span.set_attribute(name, value)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the span, with the error of the block."""
        if self._manager is not None:
            with _sheltered():
                self._manager.__exit__(kind, error, traceback)


def tell(name: str, attributes: Attributes) -> None:
    """Add an event to the current span, and a breadcrumb."""
    if (api := _opentelemetry()) is not None:
        with _sheltered():
            span = api.get_current_span()
            if span.is_recording():
                span.add_event(name, attributes)
    leave_crumb(name, attributes)


def leave_crumb(text: str, data: Attributes) -> None:
    """Leave a breadcrumb, which Sentry shows with the next error."""
    if _SENTRY in sys.modules:
        with _sheltered():
            import sentry_sdk

            sentry_sdk.add_breadcrumb(category="sse_hub", message=text, data=dict(data))


def link(traceparent: str | None) -> None:
    """Link the current span to a place of another trace."""
    api = None if traceparent is None else _opentelemetry()
    if traceparent is not None and api is not None and traceparent != here():
        with _sheltered():
            span = api.get_current_span()
            if span.is_recording():
                span.add_link(_context(api, traceparent))


@contextmanager
def within(traceparent: str | None) -> Iterator[None]:
    """Run a block at a place of a trace: its spans and log lines belong there."""
    api = None if traceparent is None else _opentelemetry()
    if traceparent is None or api is None:
        yield
        return
    # The span itself has ended, so only its context goes on.
    with api.use_span(api.NonRecordingSpan(_context(api, traceparent))):
        yield


def carried(function: Callable[[], None]) -> Callable[[], None]:
    """Return a function that another thread calls, in the trace of this call."""
    traceparent = here()
    if traceparent is None:
        return function

    def run() -> None:
        with within(traceparent):
            function()

    return run


def _opentelemetry() -> Any:
    """Return the API for traces, None if the app has not imported it."""
    if _OPENTELEMETRY not in sys.modules:
        return None
    # An import, since another thread may be in the middle of it.
    from opentelemetry import trace

    return trace


@cache
def _tracer() -> Any:
    # The API's own proxy: it finds the SDK also if the app sets it up later.
    return _opentelemetry().get_tracer("flask_sse_hub")


def _text(context: Any) -> str | None:
    if not context.is_valid:
        return None
    return (
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    )


def _context(api: Any, traceparent: str) -> Any:
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return api.INVALID_SPAN_CONTEXT
    trace, span, flags = match.groups()
    return api.SpanContext(
        trace_id=int(trace, 16),
        span_id=int(span, 16),
        is_remote=True,
        trace_flags=api.TraceFlags(int(flags, 16)),
    )


@contextmanager
def _sheltered() -> Iterator[None]:
    """Log an error of the app's tracing: an event must not fail by it."""
    try:
        yield
    except Exception:  # noqa: BLE001 - it is logged
        _rare_log.exception("SSE-1903", "the app's tracing failed, and events go on")
