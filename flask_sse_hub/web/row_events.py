"""Events of changed rows: the functions of ``@sse_hub.publishes(Model)``.

Joins the changes that the ORM tells with ``publish()``. Does not know SQLAlchemy.
"""

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InvalidOption
from ..events.typed.registry import EventTypes
from ..runtime.arguments import explaining
from .declaring import DeclaresEvents
from .registering import check_callable, place

if TYPE_CHECKING:
    from ..database.row_changes import RowChange

MakesEvent = TypeVar("MakesEvent", bound=Callable[..., Any])


class PublishesRows(DeclaresEvents):
    """The method ``publishes()``, beside ``publish()``."""

    def __init__(self, event_types: EventTypes | None) -> None:
        super().__init__(event_types)
        # The functions so far, by their model and their place in the code. An app
        # factory registers the same function for each app that it makes.
        self._row_events = set[object]()

    @explaining("@sse_hub.publishes(Model, on=...) above the function", words={})
    def publishes(
        self, model: type, *, on: str = "insert|update|delete", outbox: bool = False
    ) -> Callable[[MakesEvent], MakesEvent]:
        """Register ``f(change) -> dict``, which makes an event of each changed row.

        The function returns the arguments of ``publish()``, with ``data`` among them,
        or None for no event. Its ``change`` is a RowChange. The type, if the function
        and the data have none, is such as "order.update" for the table ``order``. For
        example::

            @sse_hub.publishes(Order, on="insert|update")
            def order_changed(change):
                return {"data": change.columns, "user": change.row.customer_id}

        The function is called in the flush that changes the row, and the event is
        published after the commit. Rows that are changed without their objects, as by
        ``update(Order)``, are not seen.

        Args:
            model: The class of a table. Its subclasses are included.
            on: The kinds of changes, joined with |.
            outbox: Whether the events go through the Outbox.

        Raises:
            InvalidOption: ``model`` is no model, ``on`` is not understood, or the
                function cannot be called as above.

        """
        row_changes = _row_changes()
        row_changes.checked_model(model)
        kinds = row_changes.kinds_of(on)

        def register(make: MakesEvent) -> MakesEvent:
            check_callable("publishes", make, ("change",))
            entry = (model, kinds, place(make))
            if entry not in self._row_events:
                self._row_events.add(entry)
                row_changes.listen(
                    model,
                    kinds,
                    lambda session, change: self._publish_row(
                        make, change, after=session, outbox=outbox
                    ),
                )
            return make

        return register

    def _publish_row(
        self, make: Callable[..., Any], change: "RowChange", **when: Any
    ) -> None:
        options = make(change)
        if options is None:
            return
        if not isinstance(options, dict) or "data" not in options:
            raise InvalidOption(
                f"the function {make.__name__} of publishes() must return a dict of the"
                ' arguments of publish(), such as {"data": change.columns}, or None,'
                f" not {options!r:.50}"
            )
        data = options["data"]
        if self._event_types.type_of(data) is None:
            row = type(change.row)
            table = getattr(change.row, "__tablename__", row.__name__.lower())
            options = {"type": f"{table}.{change.kind}", **options}
        self.publish(**options, **when)


def _row_changes() -> ModuleType:
    try:
        from ..database import row_changes
    except ImportError as error:
        raise InvalidOption(
            "publishes() needs SQLAlchemy 2, which is not installed: pip install"
            " 'flask-sse-hub[sqlalchemy]'"
        ) from error
    return row_changes
