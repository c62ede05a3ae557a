"""Calls with wrong arguments: the error names the right word and shows the right call.

Python's own error only says that a keyword is unexpected. Knows functions and their
signatures. Does not know what the arguments mean: the caller passes the words.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


def explaining(
    example: str, *, words: Mapping[str, str]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a function that people call with words of other packages.

    The function keeps its signature. A call that does not fit it raises a TypeError
    with the remedy; a call that fits costs nothing more.

    Args:
        example: The right call, as in ``publish(data, type=...)``.
        words: For each keyword that other packages use, the remedy as a sentence.

    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **keywords: P.kwargs) -> R:
            try:
                return function(*args, **keywords)
            except TypeError:
                text = _mistake(function, args, keywords, example, words)
                if text is None:
                    raise
                raise TypeError(text) from None

        return call

    return decorate


def explaining_class(
    example: str, *, words: Mapping[str, str]
) -> Callable[[type[C]], type[C]]:
    """Return the decorator of ``explaining()`` for a class; see there."""

    def decorate(made: type[C]) -> type[C]:
        explained = explaining(example, words=words)(made.__init__)
        setattr(made, "__init__", explained)  # noqa: B010 - mypy refuses the other form
        return made

    return decorate


def _mistake(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: Mapping[str, Any],
    example: str,
    words: Mapping[str, str],
) -> str | None:
    """Return what is wrong with a call; None if the function was called in fact."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **keywords)
    except TypeError as error:
        what = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
        names = _keywords_of(signature)
        for name in keywords:
            if name not in names:
                remedy = words.get(name) or _closest(name, names, example)
                return f"{what}() has no argument {name}=. {remedy}"
        if "too many positional" in str(error):
            return f"{what}() has too many arguments without a name: write {example}"
        return f"{what}() is {error}: write {example}"
    return None


def _keywords_of(signature: inspect.Signature) -> list[str]:
    return [
        name
        for name, each in signature.parameters.items()
        if name != "self" and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


def _closest(name: str, names: list[str], example: str) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]}=?" if close else f"Write {example}"
