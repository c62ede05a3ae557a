"""Which class declares the data of which type of events, for an app and its jobs.

Knows classes, types and texts. Does not know where an event goes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ...errors import InvalidEvent, InvalidOption
from ..address import UNSET, Unset
from ..event import MESSAGE, Event, text_of
from .annotations import Schema, Unfit
from .kinds import DataClass, data_class

Cls = TypeVar("Cls", bound=type)


@dataclass(frozen=True, slots=True)
class _Declared:
    type_name: str
    cls: type
    data: DataClass

    def text(self, data: object, *, dumps: Callable[[Any], str]) -> str:
        """Return the data as JSON. Raises InvalidEvent if it does not fit."""
        try:
            return self.data.encode(data, dumps=dumps)
        except (Unfit, RecursionError) as error:
            raise InvalidEvent(
                f"the data does not fit {self.cls.__name__}, the class of events of the"
                f" type {self.type_name!r}: {error}"
            ) from None


class EventTypes:
    """Classes that declare the data of types of events.

    An ``SSEHub`` has one of its own. Make one in a module without the app, and pass it
    to both sides, if jobs publish typed events by a ``Publisher``::

        events = EventTypes()

        @events.event("shipped")
        @dataclass
        class Shipped:
            number: int

        sse_hub = SSEHub(event_types=events)
        publisher = Publisher(url, event_types=events)
    """

    def __init__(self) -> None:
        self._by_type: dict[str, _Declared] = {}
        # An app factory may make its classes again for each app.
        self._by_class = WeakKeyDictionary[type, _Declared]()

    def event(self, type: str) -> Callable[[Cls], Cls]:
        """Register a class as the data of events of a type.

        The class is a dataclass, a TypedDict, a model of pydantic 2, or a Struct of
        msgspec. ``publish()`` sends its instances with this type. All data that is
        published with the type is checked: see the page about typed events.

        Args:
            type: The type of the events.

        Returns:
            A decorator, which returns the class unchanged.

        Raises:
            InvalidName: No event can have this type.
            InvalidOption: The class is of another kind, the type has a second class, or
                the class a second type. A TypedDict may have several types.

        """
        if callable(type):
            raise InvalidOption(
                'event takes the type of an event: write @sse_hub.event("shipped")'
                " above a class. For events from clients write views: clients send"
                " ordinary requests"
            )
        # An Event knows which types there are.
        name = Event("", type=type).type

        def register(cls: Cls) -> Cls:
            data = data_class(cls)
            if data is None:
                raise InvalidOption(
                    f"{cls!r:.80} cannot declare the events of the type {name!r}: use a"
                    " dataclass (@sse_hub.event stands above @dataclass), a TypedDict,"
                    " a model of pydantic 2 or a Struct of msgspec"
                )
            declared = _Declared(name, cls, data)
            _check_same(self._by_type.get(name), declared)
            if not issubclass(cls, dict):
                _check_same(self._by_class.get(cls), declared)
                self._by_class[cls] = declared
            self._by_type[name] = declared
            return cls

        return register

    def encode(
        self, data: object, *, type: str | Unset, dumps: Callable[[Any], str]
    ) -> tuple[str, str]:
        """Return the type and the text of an event, from two arguments of publish().

        Raises InvalidEvent if the data does not fit its type, or has a type of its own.
        """
        declared = self._declared_by(data)
        if declared is None:
            name = MESSAGE if type is UNSET else type
            declared = self._by_type.get(name) if isinstance(name, str) else None
            if declared is None:
                return name, text_of(data, dumps=dumps)
            if isinstance(data, str | bytes | bytearray | memoryview):
                data = _decoded(text_of(data, dumps=dumps), declared)
        elif type is not UNSET:
            raise InvalidEvent(
                f"an instance of {declared.cls.__name__} has its own type,"
                f" {declared.type_name!r}: leave out type="
            )
        return declared.type_name, declared.text(data, dumps=dumps)

    def item(self, item: Any, *, dumps: Callable[[Any], str]) -> Any:
        """Return an item of an answer: a typed event is checked and encoded.

        Others are returned as they are. Raises InvalidEvent if the data does not fit.
        """
        name = self.type_of(item) if self._by_type else None
        if name is None or name not in self._by_type:
            return item
        if not isinstance(item, Event):
            return Event(self.encode(item, type=UNSET, dumps=dumps)[1], type=name)
        return replace(item, data=self.encode(item.data, type=name, dumps=dumps)[1])

    def type_of(self, data: object) -> str | None:
        """Return the type that data has of its own; None if it has none."""
        if isinstance(data, Event):
            return data.type
        declared = self._declared_by(data)
        return None if declared is None else declared.type_name

    def types_of(self, cls: type) -> list[str]:
        """Return the types that a class declares. Raises InvalidOption for none."""
        found = [each.type_name for each in self._by_type.values() if each.cls is cls]
        if not found:
            raise InvalidOption(
                f"{cls.__name__} is not the class of a typed event: put"
                ' @sse_hub.event("a type") above it'
            )
        return found

    def schemas(self) -> dict[str, tuple[str, Schema]]:
        """Return the name of the class and its JSON Schema for each type, sorted.

        Raises InvalidOption if a class has an annotation that cannot be read.
        """
        return {
            type: (declared.cls.__name__, declared.data.schema())
            for type, declared in sorted(self._by_type.items())
        }

    def _declared_by(self, data: object) -> _Declared | None:
        if not self._by_class:
            return None
        for cls in type(data).__mro__:
            if cls in self._by_class:
                return self._by_class[cls]
        return None


def _check_same(before: _Declared | None, declared: _Declared) -> None:
    """Raise InvalidOption if another class has the type, or the class another type."""
    if before is None:
        return
    if before.type_name != declared.type_name:
        raise InvalidOption(
            f"{declared.cls.__name__} declares the events of the type"
            f" {before.type_name!r} already: make a subclass for the type"
            f" {declared.type_name!r}"
        )
    if _place(before.cls) != _place(declared.cls):
        raise InvalidOption(
            f"the events of the type {declared.type_name!r} are declared by"
            f" {_place(before.cls)} already: choose another type for"
            f" {_place(declared.cls)}"
        )


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _decoded(text: str, declared: _Declared) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(
            f"the data of an event of the type {declared.type_name!r} must be"
            f" {declared.cls.__name__} or its JSON, not other text"
        ) from error
