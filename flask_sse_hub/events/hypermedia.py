"""Events that put HTML into a page by themselves: Turbo Streams and Datastar's patches.

Knows what Turbo 8 and Datastar 1 take, and refuses what they would drop or get wrong
without a word. Does not escape the HTML that it is given: whoever rendered it has.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from html import escape

from ..errors import InvalidEvent
from .event import Event, text_of

#: What Turbo does with an element, or with the page.
TURBO_ACTIONS = (
    *("append", "prepend", "before", "after", "replace", "update", "remove"),
    "refresh",
)
_MORPHING = ("replace", "update", "refresh")

# They can find their target by the elements' own ids; the others need a selector.
_BY_OWN_ID = ("outer", "replace")

#: How Datastar patches elements.
DATASTAR_MODES = (
    *_BY_OWN_ID,
    *("inner", "prepend", "append", "before", "after", "remove"),
)
_NAMESPACES = ("html", "svg", "mathml")

_TEMPLATE_TAG = re.compile(r"<(/?)template(?:[\s/>]|\Z)", re.IGNORECASE)
# The line ends of the wire; str.splitlines knows eight more, such as U+2028.
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
    """Return an event that ``<turbo-stream-source>`` carries out: a Turbo Stream.

    ``target`` is the id of an element, ``targets`` a CSS selector instead; ``refresh``
    takes neither. ``html`` is put into the page as it is: whatever in it came from a
    person has to be escaped before, as Jinja does it. ``morph`` keeps the elements that
    stay the same, for replace, update and refresh. ``request_id`` is the request's
    X-Turbo-Request-Id, and spares the page that caused a refresh.

    The event has no type: Turbo listens to no other. Raises InvalidEvent. See
    https://turbo.hotwired.dev/reference/streams ::

        sse_hub.publish(turbo_stream("append", "messages", html), user=42)
    """
    if action not in TURBO_ACTIONS:
        raise InvalidEvent(
            f"Turbo has no action {action!r:.50}; it has {', '.join(TURBO_ACTIONS)}"
        )
    if action == "refresh":
        if target is not None or targets is not None:
            raise InvalidEvent("refresh concerns the whole page: give it no target")
    elif (target is None) == (targets is None):
        raise InvalidEvent(
            f"{action} needs either target, an element's id, or targets, a selector"
        )
    if morph and action not in _MORPHING:
        raise InvalidEvent(f"Turbo cannot morph when it does {action}")
    if request_id is not None and action != "refresh":
        raise InvalidEvent(f"request_id is for refresh, and not for {action}")
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
    """Return an event by which Datastar patches elements: ``datastar-patch-elements``.

    ``elements`` is HTML of whole elements, put into the page as it is: whatever in it
    came from a person has to be escaped before, as Jinja does it. Without a CSS
    ``selector`` each of them needs an id, and is patched over the element that has it.
    ``namespace`` is svg or mathml for elements that are parts of such.

    Raises InvalidEvent. See
    https://data-star.dev/reference/sse_events#datastar-patch-elements ::

        sse_hub.publish(datastar_patch('<b id="total">7</b>'), channel="orders")
    """
    if mode not in DATASTAR_MODES:
        raise InvalidEvent(
            f"Datastar has no mode {mode!r:.50}; it has {', '.join(DATASTAR_MODES)}"
        )
    if namespace not in _NAMESPACES:
        raise InvalidEvent(
            f"there is no namespace {namespace!r:.50}, but {', '.join(_NAMESPACES)}"
        )
    if selector is None and mode not in _BY_OWN_ID:
        raise InvalidEvent(f"the mode {mode} needs a selector")
    if not isinstance(elements, str):
        raise InvalidEvent(f"elements must be a str, not {type(elements).__name__}")
    if mode == "remove" and elements:
        raise InvalidEvent("the mode remove takes a selector, and no elements")
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
    """Return an event by which Datastar patches signals: ``datastar-patch-signals``.

    What is in ``signals`` is set, within nested ones too; None removes a signal. With
    ``only_if_missing`` those that the page has stay as they are.

    Raises InvalidEvent where they have no JSON form. See
    https://data-star.dev/reference/sse_events#datastar-patch-signals ::

        sse_hub.publish(datastar_signals({"unread": 3}), user=42)
    """
    if not isinstance(signals, Mapping):
        raise InvalidEvent(f"signals must be a dict, not {type(signals).__name__}")
    # Without NaN, of which JavaScript has another spelling.
    text = text_of(dict(signals), dumps=partial(json.dumps, allow_nan=False))
    lines = ["onlyIfMissing true"] if only_if_missing else []
    return Event("\n".join([*lines, f"signals {text}"]), type="datastar-patch-signals")


def _content(html: str, *, action: str) -> str:
    if not isinstance(html, str):
        raise InvalidEvent(f"html must be a str, not {type(html).__name__}")
    if action in ("remove", "refresh"):
        if html:
            raise InvalidEvent(f"{action} takes no html")
        return ""
    _check_templates(html)
    return f"<template>{html}</template>"


def _check_templates(html: str) -> None:
    """Raise InvalidEvent for HTML that would end the template that is put around it.

    Turbo would drop whatever comes after.
    """
    depth = 0
    for tag in _TEMPLATE_TAG.finditer(html):
        depth += -1 if tag[1] else 1
        if depth < 0:
            break
    if depth:
        raise InvalidEvent(
            "the html has a <template> or </template> without its counterpart: escape"
            " it, or close it"
        )


def _checked_text(value: str, *, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidEvent(
            f"{what} must be a str with something in it, not {value!r:.50}"
        )
    # Markup escapes what its characters are replaced by, and the member of an Enum is
    # written as its own name.
    return str.__str__(value)


def _checked_selector(selector: str) -> str:
    text = _checked_text(selector, what="selector")
    if _LINE_END.search(text):
        raise InvalidEvent(f"the selector {text!r:.50} has more than one line")
    return text
