"""Typed events: which classes are taken, and which data fits them."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from flask_sse_hub import Event, EventTypes, InvalidEvent, InvalidName, InvalidOption
from flask_sse_hub.events.address import UNSET
from flask_sse_hub.events.event import RESERVED_TYPES
from flask_sse_hub.events.typed.schemas import joined


@dataclass
class Shipped:
    number: int
    note: str = ""


@pydantic.dataclasses.dataclass
class CheckedShipped:
    number: int
    note: str = ""


class ShippedModel(pydantic.BaseModel):
    number: int
    note: str = ""


class ShippedStruct(msgspec.Struct):
    number: int
    note: str = ""


class ShippedDict(TypedDict):
    number: int
    note: str


CLASSES: list[Any] = [Shipped, CheckedShipped, ShippedModel, ShippedStruct]

each_class = pytest.mark.parametrize("cls", CLASSES)


@pytest.fixture
def events() -> EventTypes:
    return EventTypes()


Encode = Callable[..., tuple[str, Any]]


@pytest.fixture
def encode(events: EventTypes) -> Encode:
    """Return a function that gives an event's type, and its data from JSON."""

    def encode(data: object, type: Any = UNSET) -> tuple[str, Any]:
        name, text = events.encode(data, type=type, dumps=json.dumps)
        return name, json.loads(text)

    return encode


@each_class
def test_an_instance_has_its_type(events: EventTypes, encode: Encode, cls: Any) -> None:
    """So has an instance of a subclass. A second type beside it is refused."""
    assert events.event("shipped")(cls) is cls
    sent = ("shipped", {"number": 7, "note": ""})
    assert encode(cls(number=7)) == sent
    assert encode(type("Urgent", (cls,), {})(number=7)) == sent
    assert events.type_of(cls(number=7)) == "shipped"
    with pytest.raises(InvalidEvent, match=r"has its own type, 'shipped': leave out"):
        encode(cls(number=7), "shipped")


@pytest.mark.parametrize("cls", [*CLASSES, ShippedDict])
def test_all_data_of_a_type_is_checked(
    events: EventTypes, encode: Encode, cls: Any
) -> None:
    """Values of JSON and JSON as text are: they come from HTTP and from a shell."""
    events.event("shipped")(cls)
    sent = {"number": 7, "note": "x"}
    good: list[Any] = [sent, json.dumps(sent), json.dumps(sent).encode()]
    for data in good:
        assert encode(data, "shipped") == ("shipped", sent)
        assert encode(data, "other")[0] == "other"
    bad: list[Any] = [{**sent, "number": "x"}, {}, [], None, '{"number": 1.5}', '"x"']
    for data in bad:
        with pytest.raises(InvalidEvent, match=r"does not fit .*Shipped.* 'shipped'"):
            encode(data, "shipped")
    with pytest.raises(InvalidEvent, match=r"must be .*Shipped.* or its JSON"):
        encode("number 7", "shipped")


@each_class
def test_a_value_that_was_set_later_is_checked(
    events: EventTypes, encode: Encode, cls: Any
) -> None:
    """Most classes check no assignment. The text does not have the value."""
    events.event("shipped")(cls)
    shipped = cls(number=7)
    shipped.number = "secret"
    with pytest.raises(InvalidEvent, match="number") as refused:
        encode(shipped)
    assert "secret" not in str(refused.value)


@dataclass
class Box:
    it: Any


@pytest.mark.parametrize(
    ("cls", "it"),
    [
        (Box, object()),
        (Box, float("nan")),
        (msgspec.defstruct("Box", [("it", Any)]), object()),
        (pydantic.create_model("Box", it=(Any, ...)), object()),
    ],
)
def test_data_that_json_lacks_is_refused(
    events: EventTypes, encode: Encode, cls: Any, it: object
) -> None:
    """A field of any type takes what only the encoder can refuse."""
    events.event("box")(cls)
    with pytest.raises(InvalidEvent):
        encode({"it": it}, "box")


def test_a_value_that_contains_itself_is_refused(
    events: EventTypes, encode: Encode
) -> None:
    """It would have no end."""

    @events.event("node")
    @dataclass
    class Node:
        others: "list[Node]"

    endless = Node([])
    endless.others.append(endless)
    with pytest.raises(InvalidEvent, match="does not fit Node"):
        encode(endless)


class Point(NamedTuple):
    x: int


@pytest.mark.parametrize("other", [Point, dict, int, "Shipped", None, lambda: None])
def test_a_class_of_another_kind_is_refused(events: EventTypes, other: Any) -> None:
    """The text says which kinds there are."""
    with pytest.raises(InvalidOption, match=r"use a dataclass .*TypedDict.*msgspec"):
        events.event("shipped")(other)


@pytest.mark.parametrize("type", [*RESERVED_TYPES, "*", "", "a\nb", 7, None])
def test_a_type_that_no_event_can_have_is_refused(
    events: EventTypes, type: Any
) -> None:
    """It is refused before there is a class."""
    with pytest.raises(InvalidName):
        events.event(type)


def test_the_type_must_be_named(events: EventTypes) -> None:
    """Above a function, it is a habit of packages in which clients send events."""
    for mistake in (Shipped, lambda data: None):
        with pytest.raises(InvalidOption, match=r'write @sse_hub.event\("shipped"\)'):
            events.event(mistake)  # type: ignore[arg-type]


def test_a_type_has_one_class_and_a_class_one_type(events: EventTypes) -> None:
    """A TypedDict may have several: publish() is given its type anyway."""
    events.event("shipped")(Shipped)
    with pytest.raises(InvalidOption, match=r"declared by .*\.Shipped already"):
        events.event("shipped")(ShippedModel)
    with pytest.raises(InvalidOption, match=r"'shipped' already: make a subclass"):
        events.event("sent")(Shipped)
    events.event("sent")(ShippedDict)
    events.event("moved")(ShippedDict)
    assert events.types_of(ShippedDict) == ["sent", "moved"]
    with pytest.raises(InvalidOption, match="ShippedModel is not the class of a typed"):
        events.types_of(ShippedModel)


def test_a_factory_may_declare_its_class_again(
    events: EventTypes, encode: Encode
) -> None:
    """Instances of the earlier class still have their type."""

    def factory() -> type:
        @events.event("local")
        @dataclass
        class Local:
            number: int

        return Local

    first, second = factory(), factory()
    assert first is not second
    assert encode(first(1)) == encode(second(1)) == ("local", {"number": 1})


def test_data_without_a_class_is_as_before(encode: Encode, events: EventTypes) -> None:
    """An Event is itself, text is text, and anything else is JSON."""
    events.event("shipped")(Shipped)
    assert events.encode("text", type=UNSET, dumps=json.dumps) == ("message", "text")
    assert encode([1], "list") == ("list", [1])
    assert events.type_of(Event("x", type="t")) == "t"
    assert events.type_of({"number": 7}) is None


@each_class
def test_an_undeclared_object_gets_a_hint(encode: Encode, cls: Any) -> None:
    """The error of JSON says what to do."""
    with pytest.raises(InvalidEvent, match=r'typed event: @sse_hub.event\("a type"\)'):
        encode(cls(number=7))


def test_classes_of_one_name_are_told_apart(events: EventTypes) -> None:
    """The same class in two schemas has one name."""
    for type, text in (("a", int), ("b", str), ("c", int)):
        events.event(type)(msgspec.defstruct("Same", [("it", text)], module=type))
    found = joined(events.schemas())
    assert found.types == {"a": "Same", "b": "Same2", "c": "Same"}
    assert found.classes["Same2"]["properties"]["it"] == {"type": "string"}


def test_nothing_optional_is_imported_for_dataclasses() -> None:
    """Both packages are imported only for a class of theirs."""
    code = """
import sys
from dataclasses import dataclass
from flask_sse_hub import EventTypes

@EventTypes().event("shipped")
@dataclass
class Shipped:
    number: int

sys.exit(bool({"pydantic", "msgspec", "flask"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
