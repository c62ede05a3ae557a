"""Events that change a page without code of your own: Turbo Streams, Datastar patches.

Knows the formats of Turbo 8 and Datastar 1. Refuses arguments that they would silently
drop or misread. Does not escape HTML: the code that renders it must do so.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from html import escape

from ..errors import InvalidEvent
from .event import Event, text_of

#: The actions of Turbo, on an element or on the page.
TURBO_ACTIONS = (
    *("append", "prepend", "before", "after", "replace", "update", "remove"),
    "refresh",
)
_MORPHING = ("replace", "update", "refresh")

# These modes find their target by the ids of the elements; the others need a selector.
_BY_OWN_ID = ("outer", "replace")

#: The modes in which Datastar patches elements.
DATASTAR_MODES = (
    *_BY_OWN_ID,
    *("inner", "prepend", "append", "before", "after", "remove"),
)
_NAMESPACES = ("html", "svg", "mathml")

_TEMPLATE_TAG = re.compile(r"<(/?)template(?:[\s/>]|\Z)", re.IGNORECASE)
# The line ends of the wire. str.splitlines would also split at eight others, such as
# U+2028.
_LINE_END = re.compile(r"\r\n|\r|\n")


def turbo_stream(
    action: str,
    target: str | None = None,
    html: str = "",
    *,
    targets: str | None = None,
    morph: bool = False,
    request_id: str | None = None,
) -> Event:
    """Return an event with a Turbo Stream, which ``<turbo-stream-source>`` performs.

    For example::

        sse_hub.publish(turbo_stream("append", "messages", html), user=42)

    The event has the default type, the only one that Turbo listens to. See
    https://turbo.hotwired.dev/reference/streams

    Args:
        action: One of ``TURBO_ACTIONS``.
        target: The id of the element to change. ``refresh`` takes no target.
        html: The new HTML. It is put into the page as it is: escape all user input in
            it first, as Jinja does.
        targets: A CSS selector, instead of ``target``.
        morph: Whether elements that stay the same are kept. For replace, update and
            refresh.
        request_id: The X-Turbo-Request-Id of the request that causes a ``refresh``. The
            page that sent the request does not refresh.

    Returns:
        The event, to be published.

    Raises:
        InvalidEvent: Turbo would ignore or misread the arguments.

    """
    if action not in TURBO_ACTIONS:
        raise InvalidEvent(
            f"Turbo has no action {action!r:.50}; use one of {', '.join(TURBO_ACTIONS)}"
        )
    if action == "refresh":
        if target is not None or targets is not None:
            raise InvalidEvent(
                "refresh changes the whole page: leave out target and targets"
            )
    elif (target is None) == (targets is None):
        raise InvalidEvent(
            f"{action} needs either target, an element's id, or targets, a CSS selector"
        )
    if morph and action not in _MORPHING:
        raise InvalidEvent(
            f"Turbo cannot morph with {action}: leave out morph, or use one of"
            f" {', '.join(_MORPHING)}"
        )
    if request_id is not None and action != "refresh":
        raise InvalidEvent(f"request_id is only for refresh: leave it out for {action}")
    attributes = {
        "action": action,
        "target": target,
        "targets": targets,
        "method": "morph" if morph else None,
        "request-id": request_id,
    }
    tag = "".join(
        f' {name}="{escape(_checked_text(value, what=name))}"'
        for name, value in attributes.items()
        if value is not None
    )
    content = _content(html, action=action)
    return Event(f"<turbo-stream{tag}>{content}</turbo-stream>")


def datastar_patch(
    elements: str = "",
    *,
    selector: str | None = None,
    mode: str = "outer",
    namespace: str = "html",
    view_transition: bool = False,
) -> Event:
    """Return a ``datastar-patch-elements`` event, by which Datastar patches elements.

    For example::

        sse_hub.publish(datastar_patch('<b id="total">7</b>'), channel="orders")

    See https://data-star.dev/reference/sse_events#datastar-patch-elements

    Args:
        elements: HTML of whole elements. It is put into the page as it is: escape all
            user input in it first, as Jinja does.
        selector: A CSS selector. Without one, each element needs an id, and patches the
            element of the page that has this id.
        mode: One of ``DATASTAR_MODES``.
        namespace: ``"svg"`` or ``"mathml"`` for elements that are parts of such.
        view_transition: Whether the browser animates the change.

    Returns:
        The event, to be published.

    Raises:
        InvalidEvent: Datastar would ignore or misread the arguments.

    """
    if mode not in DATASTAR_MODES:
        raise InvalidEvent(
            f"Datastar has no mode {mode!r:.50}; use one of {', '.join(DATASTAR_MODES)}"
        )
    if namespace not in _NAMESPACES:
        raise InvalidEvent(
            f"Datastar has no namespace {namespace!r:.50}; use one of"
            f" {', '.join(_NAMESPACES)}"
        )
    if selector is None and mode not in _BY_OWN_ID:
        raise InvalidEvent(f"the mode {mode} needs a selector")
    if not isinstance(elements, str):
        raise InvalidEvent(f"elements must be a str, not {type(elements).__name__}")
    if mode == "remove" and elements:
        raise InvalidEvent("the mode remove takes a selector: leave out elements")
    if mode in _BY_OWN_ID and not elements:
        raise InvalidEvent(f"the mode {mode} needs elements")
    lines = []
    if mode != "outer":
        lines.append(f"mode {_checked_text(mode, what='mode')}")
    if selector is not None:
        lines.append(f"selector {_checked_selector(selector)}")
    if view_transition:
        lines.append("useViewTransition true")
    if namespace != "html":
        lines.append(f"namespace {_checked_text(namespace, what='namespace')}")
    if mode != "remove":
        lines += [f"elements {line}" for line in _LINE_END.split(elements)]
    return Event("\n".join(lines), type="datastar-patch-elements")


def datastar_signals(
    signals: Mapping[str, object], *, only_if_missing: bool = False
) -> Event:
    """Return a ``datastar-patch-signals`` event, by which Datastar patches signals.

    For example::

        sse_hub.publish(datastar_signals({"unread": 3}), user=42)

    Each item of ``signals`` sets a signal, also within nested dicts; None removes one.
    With ``only_if_missing``, signals that the page already has keep their values.

    Raises InvalidEvent if the signals cannot be serialised as JSON. See
    https://data-star.dev/reference/sse_events#datastar-patch-signals
    """
    if not isinstance(signals, Mapping):
        raise InvalidEvent(f"signals must be a dict, not {type(signals).__name__}")
    # NaN is refused: Python's spelling of it is not valid JSON in JavaScript.
    text = text_of(dict(signals), dumps=partial(json.dumps, allow_nan=False))
    lines = ["onlyIfMissing true"] if only_if_missing else []
    return Event("\n".join([*lines, f"signals {text}"]), type="datastar-patch-signals")


def _content(html: str, *, action: str) -> str:
    if not isinstance(html, str):
        raise InvalidEvent(f"html must be a str, not {type(html).__name__}")
    if action in ("remove", "refresh"):
        if html:
            raise InvalidEvent(f"{action} takes no html: leave it out")
        return ""
    _check_templates(html)
    return f"<template>{html}</template>"


def _check_templates(html: str) -> None:
    """Raise InvalidEvent for HTML that would end the ``<template>`` around it.

    Turbo would drop the HTML after that end.
    """
    depth = 0
    for tag in _TEMPLATE_TAG.finditer(html):
        depth += -1 if tag[1] else 1
        if depth < 0:
            break
    if depth:
        raise InvalidEvent(
            "the html has a <template> or </template> without its counterpart: close"
            " it, or escape it"
        )


def _checked_text(value: str, *, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidEvent(f"{what} must be a str that is not empty, not {value!r:.50}")
    # A subclass of str may behave differently: Markup would be escaped twice, and a
    # member of an Enum would be formatted as the member's name.
    return str.__str__(value)


def _checked_selector(selector: str) -> str:
    text = _checked_text(selector, what="selector")
    if _LINE_END.search(text):
        raise InvalidEvent(
            f"the selector {text!r:.50} has more than one line: write it on one line"
        )
    return text
