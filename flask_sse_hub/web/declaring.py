"""Typed events of an app: the classes of ``@sse_hub.event(type)``.

Does not know how a class checks its data.
"""

from collections.abc import Callable

from ..events.compose import PublishesEvents
from ..events.typed.registry import Cls, EventTypes
from ..runtime.arguments import explaining


class DeclaresEvents(PublishesEvents):
    """The method ``event()``, beside ``publish()``."""

    def __init__(self, event_types: EventTypes | None) -> None:
        self._event_types = EventTypes() if event_types is None else event_types

    @explaining('@sse_hub.event("shipped") above the class', words={})
    def event(self, type: str) -> Callable[[Cls], Cls]:
        """Register a class as the data of events of a type, as ``EventTypes`` does.

        For example::

            @sse_hub.event("shipped")
            @dataclass
            class Shipped:
                number: int

            sse_hub.publish(Shipped(number=7), user=42)

        Args:
            type: The type of the events.

        Returns:
            A decorator, which returns the class unchanged.

        Raises:
            InvalidName: No event can have this type.
            InvalidOption: The class is of another kind, the type has a second class, or
                the class a second type.

        """
        return self._event_types.event(type)
