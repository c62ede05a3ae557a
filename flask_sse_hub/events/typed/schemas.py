"""The JSON Schemas of all typed events, joined so that each class has one name.

Knows JSON Schema. Does not know the languages that descriptions are written in.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .annotations import Schema

_DEFS = "#/$defs/"

# Keywords whose value is a schema, a list of schemas, or schemas by their names. The
# values of all others, such as "default", are data and stay as they are.
_SCHEMA = frozenset({"items", "additionalProperties", "contains", "not"})
_LIST = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties"})

_NULL = {"type": "null"}


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schemas of classes by their names, and the class's name for each event type.

    A reference in a schema is ``{"$ref": name}``.
    """

    classes: Mapping[str, Schema]
    types: Mapping[str, str]


def joined(events: Mapping[str, tuple[str, Schema]]) -> Schemas:
    """Join the schemas of ``EventTypes.schemas()``.

    Classes of one name that differ have numbers behind their names.
    """
    joining = _Joining()
    types = {
        type: joining.add_event(name, schema) for type, (name, schema) in events.items()
    }
    return Schemas(dict(sorted(joining.classes.items())), types)


def mapped(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """Return a schema with ``change`` applied to it, and to each schema within it."""
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for key, value in change(schema).items():
        if key in _SCHEMA:
            made[key] = mapped(value, change)
        elif key in _LIST:
            made[key] = [mapped(each, change) for each in value]
        elif key in _NAMED:
            made[key] = {name: mapped(each, change) for name, each in value.items()}
        else:
            made[key] = value
    return made


def referred(schema: Schema) -> str:
    """Return the name of the definition to which a schema refers; "" without one."""
    return str(schema.get("$ref", "")).removeprefix(_DEFS)


def renamed(schema: Schema, name: Callable[[str], str]) -> Schema:
    """Return a schema whose references are ``{"$ref": name(definition)}``."""

    def change(each: Schema) -> Schema:
        other = referred(each)
        return {**each, "$ref": name(other)} if other else each

    found: Schema = mapped(schema, change)
    return found


def modern(schema: Schema) -> Schema:
    """Return a schema as the present releases of its library write it.

    pydantic before 2.9 puts a reference in an ``allOf`` of its own, and msgspec before
    0.19 writes null before the type that it stands beside.
    """
    definitions = schema.get("$defs", {})
    root = {key: value for key, value in schema.items() if key != "$defs"}
    found: Schema = mapped(root, _modern)
    return found | {
        "$defs": {name: mapped(each, _modern) for name, each in definitions.items()}
    }


def _modern(schema: Schema) -> Schema:
    found = dict(schema)
    if len(found.get("allOf", ())) == 1:
        (only,) = found.pop("allOf")
        found |= only
    if "anyOf" in found:
        found["anyOf"] = sorted(found["anyOf"], key=_NULL.__eq__)
    return found


class _Joining:
    def __init__(self) -> None:
        self.classes: dict[str, Schema] = {}
        # The name of each class, by its whole description.
        self._names: dict[str, str] = {}

    def add_event(self, name: str, schema: Schema) -> str:
        definitions = dict(schema.get("$defs", {}))
        root = {key: value for key, value in schema.items() if key != "$defs"}
        if set(root) == {"$ref"}:
            return self._add(referred(root), definitions)
        # No definition has this name.
        definitions[f"{name}:"] = root
        return self._add(f"{name}:", definitions)

    def _add(self, name: str, definitions: Mapping[str, Schema]) -> str:
        described = _described(name, definitions)
        if described not in self._names:
            # Known before the classes within are added: one may be this class itself.
            free = self._names[described] = self._free_name(_class_name(name))
            self.classes[free] = {}
            self.classes[free] = renamed(
                definitions[name], lambda other: self._add(other, definitions)
            )
        return self._names[described]

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.classes:
            number += 1
            name = f"{wanted}{number}"
        return name


def _class_name(name: str) -> str:
    return re.sub(r"\W+", "_", name.partition(":")[0], flags=re.ASCII)


def _described(name: str, definitions: Mapping[str, Schema]) -> str:
    """Return a text that is the same for the same class, in whichever schema it is."""
    found = [name]

    def number(other: str) -> str:
        if other not in found:
            found.append(other)
        return str(found.index(other))

    parts = [_class_name(name)]
    # The list grows by the classes within.
    for each in found:
        schema = mapped(renamed(definitions[each], number), _essence)
        parts.append(json.dumps(schema, sort_keys=True, default=str))
    return "\n".join(parts)


def _essence(schema: Schema) -> Schema:
    """Return a schema without the parts that pydantic and msgspec write differently."""
    dropped = {"title", "default"}
    if "enum" in schema:
        dropped.add("type")
    if isinstance(schema.get("additionalProperties"), bool):
        dropped.add("additionalProperties")
    return {key: value for key, value in schema.items() if key not in dropped}
