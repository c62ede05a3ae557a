"""Typed events of each kind of class, with each form of annotation.

``flask --app tests.unit.events.typed.samples sse types`` writes their types, which
client/test/types has too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import msgspec
import pydantic
from flask import Flask

from flask_sse_hub import EventTypes, SSEHub

T = TypeVar("T")
OrderId = NewType("OrderId", int)


class Color(Enum):
    """Two colours."""

    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    """Numbers."""

    LOW = 1


class Name(str):
    """A text of an app."""

    __slots__ = ()


@dataclass
class Page(Generic[T]):
    """Some of many items."""

    items: list[T]
    following: int | None = None


_SETTINGS = pydantic.ConfigDict.__annotations__

#: The name of Item's note in JSON. Before pydantic 2.11, a model had no setting for it.
NOTE = "the note" if "serialize_by_alias" in _SETTINGS else "note"


class Item(pydantic.BaseModel):
    """A model of pydantic."""

    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    number: int
    at: datetime | None = None
    color: Color = Color.RED
    size: tuple[int, int] = (1, 2)
    parts: "list[Item]" = []
    note: str = pydantic.Field(default="", serialization_alias="the note")
    hidden: int = pydantic.Field(default=0, exclude=True)


class Point(msgspec.Struct):
    """A Struct of msgspec."""

    x: int
    y: int = 0
    following: Optional["Point"] = None
    label: str | msgspec.UnsetType = msgspec.UNSET


class Sparse(msgspec.Struct, omit_defaults=True):
    """A Struct that leaves its defaults out."""

    point: Point
    z: int = 0


class Address(TypedDict):
    """A plain dict, whose keys are known."""

    street: str
    city: NotRequired[str]


@dataclass
class Everything:
    """Each form of annotation.

    Its text ends no comment: */
    """

    text: str
    number: int
    ratio: float
    flag: bool
    nothing: None
    at: datetime
    day: date
    clock: time
    id: UUID
    price: Decimal
    color: Color
    level: Level
    choice: Literal["a", 1, True, Color.BLUE, None]
    either: int | str
    perhaps: Optional[float]  # noqa: UP045 - the older form
    list_of: list[int | None]
    sequence: Sequence[str]
    pair: tuple[int, str]
    many: tuple[int, ...]
    unique: frozenset[str]
    plain_list: list  # type: ignore[type-arg]
    mapping: dict[str, list[int]]
    by_number: Mapping[int, str]
    page: Page[Color]
    order: OrderId
    name: Name
    annotated: Annotated[int, {"no": "hash"}]
    address: Address
    item: Item
    point: Point
    raw: bytes
    anything: Any
    children: "list[Everything]" = field(default_factory=list)
    constant: ClassVar[int] = 7


def everything(**changed: Any) -> Everything:
    """Return an instance in which each field has a value of its annotation."""
    values: dict[str, Any] = {
        "text": "a",
        "number": 1,
        "ratio": 0.5,
        "flag": True,
        "nothing": None,
        "at": datetime(2026, 1, 2, 3, 4),
        "day": date(2026, 1, 2),
        "clock": time(3, 4),
        "id": UUID(int=7),
        "price": Decimal("1.50"),
        "color": Color.RED,
        "level": Level.LOW,
        "choice": Color.BLUE,
        "either": "b",
        "perhaps": None,
        "list_of": [1, None],
        "sequence": ("a", "b"),
        "pair": (1, "c"),
        "many": (1, 2),
        "unique": frozenset({"d"}),
        "plain_list": [1, "e"],
        "mapping": {"f": [1]},
        "by_number": {7: "g"},
        "page": Page([Color.RED]),
        "order": OrderId(8),
        "name": Name("h"),
        "annotated": 9,
        "address": Address(street="i"),
        "item": Item(number=1),
        "point": Point(1),
        "raw": "bytes are left to the app's JSON",
        "anything": {"any": 1},
    }
    return Everything(**values | changed)


events = EventTypes()
events.event("every.thing")(Everything)
events.event("item")(Item)
events.event("point")(Point)
events.event("sparse")(Sparse)
events.event("address")(Address)
events.event("address moved/2")(Address)


def create_app() -> Flask:
    app = Flask("shop")
    app.config.update(SSE_HUB_BROKER_URL="memory://", SSE_HUB_LOGIN_REQUIRED=False)
    SSEHub(app, event_types=events)
    return app
