"""The types of events that a test asks for: names, and classes of typed events."""

from collections.abc import Collection
from typing import Any

from flask import Flask

from ..errors import InvalidOption
from ..web.app_state import AppState

#: One event type or several, by its name or its class. None: each type.
Types = str | type[Any] | Collection[str | type[Any]] | None


def type_names(types: Types, app: Flask | None) -> tuple[str, ...] | None:
    """Return the names of types; None for each type.

    Raises InvalidOption for a class that declares no events of the app.
    """
    if types is None:
        return None
    asked = [types] if isinstance(types, str | type) else types
    return tuple(name for each in asked for name in _names_of(each, app))


def _names_of(asked: str | type[Any], app: Flask | None) -> Collection[str]:
    if isinstance(asked, str):
        return [asked]
    state = app.extensions.get("sse_hub") if app is not None else None
    if not isinstance(state, AppState):
        raise InvalidOption(
            f"the types of {asked.__name__} are known to its app only: ask for a name,"
            " or pass client=app.test_client()"
        )
    return state.event_types.types_of(asked)
