"""Changed rows: a function of the app makes an event of each.

Knows the mapper events of SQLAlchemy's ORM. Does not know how events are published.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import event, inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper, Session, object_session

from ..errors import InvalidOption

Kind = Literal["insert", "update", "delete"]
_KINDS: tuple[Kind, ...] = ("insert", "update", "delete")


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that a flush has inserted, updated or deleted.

    ``row`` is the object of the model. ``columns`` has the new value of each changed
    column, by the attribute's name: of all columns that were set by an insert, and of
    none by a delete. ``key`` has the primary key in the same way.
    """

    kind: Kind
    row: Any
    key: Mapping[str, Any]
    columns: Mapping[str, Any]


def kinds_of(on: object) -> tuple[Kind, ...]:
    """Return the kinds in a text such as "insert|update". Raises InvalidOption."""
    names = on.split("|") if isinstance(on, str) else []
    found = tuple(kind for kind in _KINDS if kind in names)
    if not names or len(found) != len(names):
        raise InvalidOption(
            f"on={on!r:.50} is not understood: join insert, update and delete with |,"
            ' as in on="insert|update"'
        )
    return found


def checked_model(model: object) -> type:
    """Return a class that the ORM maps. Raises InvalidOption for anything else."""
    try:
        mapper = inspect(model)
    except NoInspectionAvailable:
        mapper = None
    if not isinstance(mapper, Mapper) or not isinstance(model, type):
        raise InvalidOption(
            f"publishes() takes a model, such as a class of db.Model, not"
            f" {model!r:.50}: write @sse_hub.publishes(Order)"
        )
    return model


def listen(
    model: type, kinds: tuple[Kind, ...], changed: Callable[[Session, RowChange], None]
) -> None:
    """Call a function for each changed row of a model and of its subclasses.

    It is called within the flush, with the row's session.
    """

    def listener(kind: Kind) -> Callable[[Any, Any, Any], None]:
        def call(mapper: Mapper[Any], _: Any, row: Any) -> None:
            change = _change(kind, mapper, row)
            session = object_session(row)
            if change is not None and session is not None:
                changed(session, change)

        return call

    for kind in kinds:
        event.listen(model, f"after_{kind}", listener(kind), propagate=True)


def _change(kind: Kind, mapper: Mapper[Any], row: Any) -> RowChange | None:
    # The values that are loaded: asking for another one would run a query.
    loaded = inspect(row).dict
    names = [attribute.key for attribute in mapper.column_attrs]
    if kind == "update":
        attributes = inspect(row).attrs
        names = [
            n for n in names if n in loaded and attributes[n].history.has_changes()
        ]
        if not names:
            # A changed relationship marks rows that stay as they are.
            return None
    columns = {} if kind == "delete" else {n: loaded[n] for n in names if n in loaded}
    key = mapper.primary_key_from_instance(row)
    attribute = mapper.get_property_by_column
    keys = (attribute(column).key for column in mapper.primary_key)
    return RowChange(kind, row, dict(zip(keys, key, strict=True)), columns)
