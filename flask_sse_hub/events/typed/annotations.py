"""The annotations of dataclasses and TypedDicts, as JSON Schema and as checks.

One walk over the annotations gives both, so that they cannot disagree. Does not know
events, nor the models of pydantic and msgspec, which describe themselves.
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, TypeVar, Union
from uuid import UUID

from ...errors import InvalidOption

#: A JSON Schema. Its definitions are in ``$defs``, by the name of a class. Classes of
#: one name are told apart by a colon and more.
Schema = dict[str, Any]

Plain = Callable[[Any], Any]


class Unfit(Exception):
    """Raised when a value does not fit its annotation."""

    def __init__(self, text: str, *path: object) -> None:
        super().__init__(text)
        self.text = text
        self.path = path

    def __str__(self) -> str:
        place = ".".join(map(str, self.path))
        return f"{place}: {self.text}" if place else self.text


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """The values of an annotation.

    ``schema`` describes their JSON. ``plain`` makes values of JSON from one of them,
    keeps values that are JSON already, and raises Unfit for all others.
    """

    schema: Schema
    plain: Plain


def is_annotated(cls: object) -> bool:
    """Tell whether a class is a dataclass or a TypedDict."""
    return isinstance(cls, type) and (dataclasses.is_dataclass(cls) or _is_dict(cls))


def _is_dict(cls: type) -> bool:
    # typing_extensions has a TypedDict of its own, which typing does not recognise.
    return issubclass(cls, dict) and hasattr(cls, "__required_keys__")


class Reader:
    """Reads annotations. ``definitions`` has the schemas of the classes so far.

    ``foreign`` returns the form of a class that describes itself, and may add its
    definitions. It returns None for any other class.
    """

    def __init__(
        self, foreign: Callable[[type, dict[str, Schema]], Shape | None]
    ) -> None:
        self.definitions: dict[str, Schema] = {}
        self._foreign = foreign
        self._named: dict[object, Shape] = {}

    def read(
        self, annotation: Any, bound: Mapping[TypeVar, Any] | None = None
    ) -> Shape:
        """Return the form of an annotation. ``bound`` has the values of TypeVars.

        An annotation that JSON has no type for takes every value.
        """
        bound = bound or {}
        if isinstance(annotation, TypeVar):
            return self.read(bound.get(annotation, annotation.__bound__ or Any))
        if isinstance(annotation, NewType):
            return self.read(annotation.__supertype__, bound)
        if annotation is None:
            return _SIMPLE[NoneType]
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated or _qualifier(annotation):
            return self.read(args[0], bound)
        if origin in (Union, UnionType):
            return _either([self.read(each, bound) for each in args])
        if origin is Literal:
            return _one_of([_plain_member(each) for each in args])
        if hasattr(annotation, "__value__"):
            return self._alias(annotation)
        cls = origin or annotation
        if not isinstance(cls, type) or cls is object:
            return _unknown(annotation)
        args = tuple(bound.get(each, each) for each in args)
        return self._class(cls, args, bound)

    def _class(
        self, cls: type, args: tuple[Any, ...], bound: Mapping[TypeVar, Any]
    ) -> Shape:
        if cls in _SIMPLE:
            return _SIMPLE[cls]
        if (form := self._foreign(cls, self.definitions)) is not None:
            return form
        if is_annotated(cls):
            return self._object(cls, args)
        if issubclass(cls, Enum):
            return self._enum(cls)
        if issubclass(cls, tuple) and not hasattr(cls, "_fields"):
            return self._tuple(args, bound)
        if issubclass(cls, Mapping):
            key, value = args or (str, Any)
            return _mapping(self.read(key, bound), self.read(value, bound))
        if issubclass(cls, list | Set) or cls in (Sequence, Collection):
            return _array(self.read(args[0] if args else Any, bound))
        for simple in (str, bool, int, float):
            if issubclass(cls, simple):
                return _SIMPLE[simple]
        return _unknown(cls)

    def _object(self, cls: type, args: tuple[Any, ...]) -> Shape:
        if (cls, args) in self._named:
            return self._named[cls, args]
        fields: dict[str, tuple[Shape, bool]] = {}
        words = [cls.__name__, *(getattr(each, "__name__", "") for each in args)]
        name = self._free_name("".join(words))
        # Known before its fields are read: one of them may have the class itself.
        form = _reference(name, partial(_plain_object, cls, fields))
        self._named[cls, args] = form
        bound = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
        for field, annotation in _annotations(cls).items():
            is_required = _is_required(cls, field, annotation)
            fields[field] = (self.read(annotation, bound), is_required)
        self.definitions[name] |= {
            "title": cls.__name__,
            **_description(cls),
            "type": "object",
            "properties": {field: each.schema for field, (each, _) in fields.items()},
            "required": [field for field, (_, needed) in fields.items() if needed],
            "additionalProperties": False,
        }
        return form

    def _enum(self, cls: type[Enum]) -> Shape:
        if cls not in self._named:
            name = self._free_name(cls.__name__)
            form = _one_of([member.value for member in cls])
            self.definitions[name] |= {
                "title": cls.__name__,
                **_description(cls),
                **form.schema,
            }
            self._named[cls] = _reference(name, form.plain)
        return self._named[cls]

    def _alias(self, alias: Any) -> Shape:
        if alias not in self._named:
            name = self._free_name(alias.__name__)
            forms: list[Shape] = []
            self._named[alias] = _reference(name, lambda value: forms[0].plain(value))
            forms.append(self.read(alias.__value__))
            self.definitions[name] |= forms[0].schema
        return self._named[alias]

    def _tuple(self, args: tuple[Any, ...], bound: Mapping[TypeVar, Any]) -> Shape:
        if not args or args[-1] is Ellipsis:
            return _array(self.read(args[0] if args else Any, bound))
        forms = [self.read(each, bound) for each in args]

        def plain(value: Any) -> list[Any]:
            _check(value, list | tuple, "tuple")
            if len(value) != len(forms):
                raise Unfit(f"has {len(value)} items, not {len(forms)}")
            return [
                _below(index, form.plain, item)
                for index, (form, item) in enumerate(zip(forms, value, strict=True))
            ]

        size = len(forms)
        items = [form.schema for form in forms]
        return Shape(
            {"type": "array", "prefixItems": items, "minItems": size, "maxItems": size},
            plain,
        )

    def _free_name(self, wanted: str) -> str:
        name = wanted
        while name in self.definitions:
            name = f"{wanted}:{len(self.definitions)}"
        self.definitions[name] = {}
        return name


def _reference(name: str, plain: Plain) -> Shape:
    return Shape({"$ref": f"#/$defs/{name}"}, plain)


def _annotations(cls: type) -> dict[str, Any]:
    """Return the annotation of each field. Raises InvalidOption if one is unknown."""
    try:
        found = typing.get_type_hints(
            cls, localns={cls.__name__: cls}, include_extras=True
        )
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise InvalidOption(
            f"the annotations of {cls.__qualname__} cannot be read: {error}. Define the"
            " classes that it names in its module, outside of functions"
        ) from error
    if not dataclasses.is_dataclass(cls):
        return found
    return {field.name: found[field.name] for field in dataclasses.fields(cls)}


def _qualifier(annotation: Any) -> str:
    """Return "Required", "NotRequired" or "ReadOnly" for such an annotation."""
    # By its name: newer ones are in typing_extensions before they are in typing.
    name = getattr(typing.get_origin(annotation), "_name", None)
    return name if name in ("Required", "NotRequired", "ReadOnly", "Final") else ""


def _is_required(cls: type, field: str, annotation: Any) -> bool:
    while qualifier := _qualifier(annotation):
        # Read here too: with postponed annotations, Python counts the key as required.
        if qualifier in ("Required", "NotRequired"):
            return qualifier == "Required"
        (annotation,) = typing.get_args(annotation)
    return field in getattr(cls, "__required_keys__", (field,))


def _description(cls: type) -> dict[str, str]:
    text = cls.__dict__.get("__doc__")
    if not text or text.startswith((f"{cls.__name__}(", "An enumeration.")):
        # Python's own texts, where a class has no docstring.
        return {}
    return {"description": inspect.cleandoc(text)}


def _below(step: object, plain: Plain, value: Any) -> Any:
    try:
        return plain(value)
    except Unfit as error:
        raise Unfit(error.text, step, *error.path) from None


def _check(value: object, kinds: Any, name: str) -> None:
    if not isinstance(value, kinds):
        raise Unfit(f"{type(value).__name__} is not {name}")


def _plain_object(
    cls: type, fields: Mapping[str, tuple[Shape, bool]], value: Any
) -> dict[str, Any]:
    if dataclasses.is_dataclass(cls) and isinstance(value, cls):
        found = {name: getattr(value, name) for name in fields if hasattr(value, name)}
    else:
        _check(value, Mapping, cls.__name__)
        found = value
    for name in found:
        if name not in fields:
            raise Unfit(f"{cls.__name__} has no such field", name)
    made = {}
    for name, (form, is_required) in fields.items():
        if name in found:
            made[name] = _below(name, form.plain, found[name])
        elif is_required:
            raise Unfit("is missing", name)
    return made


def _either(forms: list[Shape]) -> Shape:
    def plain(value: Any) -> Any:
        refusals = []
        for form in forms:
            try:
                return form.plain(value)
            except Unfit as error:
                refusals.append(error)
        # The refusal that got furthest is the one of the form that was meant.
        raise max(refusals, key=lambda error: len(error.path))

    return Shape({"anyOf": [form.schema for form in forms]}, plain)


def _one_of(values: list[Any]) -> Shape:
    def plain(value: Any) -> Any:
        found = _plain_member(value)
        # 1 and True are equal in Python, and not in JSON.
        if not any(found == each and type(found) is type(each) for each in values):
            raise Unfit(f"is none of {', '.join(map(repr, values))}")
        return found

    return Shape({"enum": values}, plain)


def _plain_member(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _array(item: Shape) -> Shape:
    def plain(value: Any) -> list[Any]:
        _check(value, list | tuple | Set | Sequence, "list")
        _check_not(value, str | bytes | bytearray, "list")
        return [_below(index, item.plain, each) for index, each in enumerate(value)]

    return Shape({"type": "array", "items": item.schema}, plain)


def _check_not(value: object, kinds: Any, name: str) -> None:
    if isinstance(value, kinds):
        raise Unfit(f"{type(value).__name__} is not {name}")


def _mapping(key: Shape, item: Shape) -> Shape:
    def plain(value: Any) -> dict[Any, Any]:
        _check(value, Mapping, "dict")
        return {
            _below(name, partial(_plain_key, key), name): _below(name, item.plain, each)
            for name, each in value.items()
        }

    return Shape({"type": "object", "additionalProperties": item.schema}, plain)


def _plain_key(key: Shape, name: Any) -> Any:
    try:
        return key.plain(name)
    except Unfit:
        # Numbers are text as the keys of JSON that was received.
        if isinstance(name, str) and name.lstrip("-").isdecimal():
            return key.plain(int(name))
        raise


def _unknown(annotation: Any) -> Shape:
    if annotation is Any or annotation is object:
        return Shape({}, lambda value: value)
    name = getattr(annotation, "__name__", None) or str(annotation)
    return Shape({"$comment": name}, lambda value: value)


def _simple(name: str, kinds: Any, json: str, *, no: Any = ()) -> Shape:
    def plain(value: Any) -> Any:
        if not isinstance(value, kinds) or isinstance(value, no):
            raise Unfit(f"{type(value).__name__} is not {name}")
        return _plain_member(value)

    return Shape({"type": json}, plain)


def _written(
    cls: type, write: Callable[[Any], str], read: Plain, *, kind: str, no: Any = ()
) -> Shape:
    """Return the form of a class whose values are text in JSON."""

    def plain(value: Any) -> str:
        if isinstance(value, cls) and not isinstance(value, no):
            return write(value)
        if isinstance(value, str):
            try:
                read(value)
            except (ValueError, InvalidOperation):
                raise Unfit(f"the text is not {cls.__name__}") from None
            return value
        raise Unfit(f"{type(value).__name__} is not {cls.__name__}")

    form = {"format": kind} if kind else {}
    return Shape({"type": "string", **form}, plain)


_SIMPLE: dict[type, Shape] = {
    str: _simple("str", str, "string"),
    bool: _simple("bool", bool, "boolean"),
    int: _simple("int", int, "integer", no=bool),
    float: _simple("float", int | float, "number", no=bool),
    NoneType: _simple("None", NoneType, "null"),
    datetime: _written(
        datetime, datetime.isoformat, datetime.fromisoformat, kind="date-time"
    ),
    # Each datetime is a date in Python.
    date: _written(date, date.isoformat, date.fromisoformat, kind="date", no=datetime),
    time: _written(time, time.isoformat, time.fromisoformat, kind="time"),
    UUID: _written(UUID, str, UUID, kind="uuid"),
    # Text, as pydantic and msgspec write it: a float would lose digits.
    Decimal: _written(Decimal, str, Decimal, kind=""),
}
