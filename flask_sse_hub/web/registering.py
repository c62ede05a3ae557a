"""The check of functions that an app registers as rules of its streams.

A rule that cannot work is refused where it is registered: at the first stream, its
error would be a 500 for a visitor. Does not know what the rules decide.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import InvalidOption

Rule = Callable[..., Any]


def check_rule(
    name: str, before: Rule | None, rule: object, parameters: Sequence[str]
) -> None:
    """Raise InvalidOption for a second rule, and for a bad one.

    ``name`` is the decorator. ``before`` is the rule that is registered already. The
    same function may come again: an app factory registers it for each app that it
    makes.
    """
    check_callable(name, rule, parameters)
    if before is not None and place(before) != place(rule):
        raise InvalidOption(
            f"{name} has a function already, {_described(before)}: a second one would"
            " replace it. Make one function of both"
        )


def check_callable(name: str, rule: object, parameters: Sequence[str]) -> None:
    """Raise InvalidOption if a rule cannot be called with these parameters."""
    call = f"f({', '.join(parameters)})"
    if not callable(rule):
        raise InvalidOption(f"{name} takes a function {call}, not {rule!r:.50}")
    if _is_async(rule):
        # Its coroutine would be true, and open every channel.
        raise InvalidOption(
            f"{name} takes a plain function {call}, not the async function"
            f" {_described(rule)}: write `def`"
        )
    try:
        signature = inspect.signature(rule)
        signature.bind(*parameters)
    except TypeError as error:
        raise InvalidOption(
            f"{name} calls its function as {call}, and {_described(rule)} cannot be"
            f" called so: {error}"
        ) from error
    except ValueError:
        # A function in C may not tell its signature.
        return
    if tuple(signature.parameters)[: len(parameters)] == (*reversed(parameters),) and (
        len(parameters) > 1
    ):
        raise InvalidOption(
            f"{name} calls its function as {call}, and {_described(rule)} has the"
            " arguments in the other order"
        )


def _is_async(rule: Rule) -> bool:
    called = getattr(rule, "__call__", None)  # noqa: B004 - its kind, not whether it is
    return inspect.iscoroutinefunction(rule) or inspect.iscoroutinefunction(called)


def place(rule: Any) -> object:
    """Return where a function stands in the code; the value itself without a place."""
    code = getattr(inspect.unwrap(rule), "__code__", None)
    return rule if code is None else (code.co_filename, code.co_firstlineno)


def _described(rule: Any) -> str:
    name = getattr(rule, "__qualname__", None) or repr(rule)[:50]
    return f"{getattr(rule, '__module__', '?')}.{name}"
