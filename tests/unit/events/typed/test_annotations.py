"""Annotations of dataclasses and TypedDicts: their checks and their schemas."""

import json
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, Required, TypedDict, TypeVar

import pytest
import typing_extensions

from flask_sse_hub import InvalidOption
from flask_sse_hub.events.typed.annotations import Reader, Shape, Unfit
from flask_sse_hub.events.typed.kinds import data_class
from tests.unit.events.typed.samples import NOTE, Address, Everything, everything

T = TypeVar("T")


def read(annotation: Any) -> Shape:
    return Reader(lambda cls, definitions: None).read(annotation)


def encoded(data: object, cls: type = Everything) -> Any:
    """Return the JSON of data of a class, decoded."""
    declared = data_class(cls)
    assert declared is not None
    return json.loads(declared.encode(data, dumps=json.dumps))


def test_each_form_becomes_values_of_json() -> None:
    """Times, ids and decimals are text, whichever JSON an app has."""
    assert encoded(everything()) == {
        "text": "a",
        "number": 1,
        "ratio": 0.5,
        "flag": True,
        "nothing": None,
        "at": "2026-01-02T03:04:00",
        "day": "2026-01-02",
        "clock": "03:04:00",
        "id": "00000000-0000-0000-0000-000000000007",
        "price": "1.50",
        "color": "red",
        "level": 1,
        "choice": "blue",
        "either": "b",
        "perhaps": None,
        "list_of": [1, None],
        "sequence": ["a", "b"],
        "pair": [1, "c"],
        "many": [1, 2],
        "unique": ["d"],
        "plain_list": [1, "e"],
        "mapping": {"f": [1]},
        "by_number": {"7": "g"},
        "page": {"items": ["red"], "following": None},
        "order": 8,
        "name": "h",
        "annotated": 9,
        "address": {"street": "i"},
        "item": {
            "number": 1,
            "at": None,
            "color": "red",
            "size": [1, 2],
            "parts": [],
            NOTE: "",
        },
        "point": {"x": 1, "y": 0, "following": None},
        "raw": "bytes are left to the app's JSON",
        "anything": {"any": 1},
        "children": [],
    }


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("text", 1, "text: int is not str"),
        ("number", True, "number: bool is not int"),
        ("number", 1.0, "number: float is not int"),
        ("ratio", True, "ratio: bool is not float"),
        ("flag", 1, "flag: int is not bool"),
        ("nothing", 0, "nothing: int is not None"),
        ("at", date(2026, 1, 1), "at: date is not datetime"),
        ("at", "yesterday", "at: the text is not datetime"),
        ("day", datetime(2026, 1, 1), "day: datetime is not date"),
        ("price", 1.5, "price: float is not Decimal"),
        ("price", "much", "price: the text is not Decimal"),
        ("color", "green", "color: is none of 'red', 'blue'"),
        ("choice", 1.0, "choice: is none of 'a', 1, True, 'blue', None"),
        ("list_of", "ab", "list_of: str is not list"),
        ("list_of", [1, "b"], "list_of.1: str is not"),
        ("pair", (1,), "pair: has 1 items, not 2"),
        ("mapping", [], "mapping: list is not dict"),
        ("mapping", {"a": ["b"]}, "mapping.a.0: str is not int"),
        ("by_number", {"a": "b"}, "by_number.a: str is not int"),
        ("page", {"items": [], "next": 1}, "page.next: Page has no such field"),
        ("address", {"city": "a"}, "address.street: is missing"),
        ("item", {"number": "a"}, "item.number: Input should be a valid integer"),
        ("point", {"x": "a"}, "point: Expected `int`, got `str` - at `$.x`"),
        ("children", [{}], "children.0.text: is missing"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(
    field: str, value: object, text: str
) -> None:
    """The error has the way to the value, and not the value itself."""
    with pytest.raises(Unfit) as refused:
        encoded(everything(**{field: value}))
    assert str(refused.value).startswith(text)


def test_values_of_json_fit_as_they_are() -> None:
    """An event that came over HTTP has text instead of times and ids."""
    once = encoded(everything())
    assert encoded(once) == once


class Partly(TypedDict, total=False):
    """Postponed annotations hide from Python which keys are required."""

    number: "Required[int]"
    text: typing_extensions.ReadOnly[str]


def test_a_typed_dict_knows_its_required_keys() -> None:
    """It has no instances, so any dict with its keys fits."""
    assert encoded(Address(street="a"), Address) == {"street": "a"}
    assert encoded({"number": 1}, Partly) == {"number": 1}
    bad: list[Any] = [{}, {"text": "a"}, {"number": 1, "txt": "a"}, [], None]
    for data in bad:
        with pytest.raises(Unfit):
            encoded(data, Partly)


def test_a_field_without_a_value_is_missing() -> None:
    """The constructor does not set it, and nothing else has."""
    made = make_dataclass("Made", [("late", int, field(init=False))], slots=True)
    with pytest.raises(Unfit, match="late: is missing"):
        encoded(made(), made)


def test_a_class_may_have_itself_within() -> None:
    """A local class too. A value that contains itself is too deep to be sent."""

    @dataclass
    class Node:
        others: "list[Node]"

    assert encoded(Node([Node([])]), Node) == {"others": [{"others": []}]}
    endless = Node([])
    endless.others.append(endless)
    with pytest.raises(RecursionError):
        encoded(endless, Node)


def test_an_annotation_that_is_not_defined_is_explained() -> None:
    """The text names the class, and the place where Python looks."""
    made = make_dataclass("Made", [("other", "Nowhere")])
    with pytest.raises(InvalidOption, match=r"Made cannot be read: name 'Nowhere'"):
        encoded(made(1), made)


@dataclass
class Box(Generic[T]):
    """A class of any item."""

    item: T


def test_a_type_variable_is_bound_by_its_class() -> None:
    """Without a class of its own it is any value."""
    assert read(Box[int]).plain({"item": 1}) == {"item": 1}
    assert read(Box).plain({"item": "a"}) == {"item": "a"}
    with pytest.raises(Unfit, match="item: str is not int"):
        read(Box[int]).plain({"item": "a"})


def test_two_classes_of_one_name_are_two_definitions() -> None:
    """Each reference is to its own."""
    one = make_dataclass("Made", [("a", int)])
    other = make_dataclass("Made", [("b", Decimal)])
    reader = Reader(lambda cls, definitions: None)
    names = [reader.read(cls).schema["$ref"] for cls in (one, other, one)]
    assert names[0] == names[2] != names[1]
    assert len(reader.definitions) == 2
