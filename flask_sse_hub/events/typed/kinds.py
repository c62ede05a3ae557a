"""The kinds of classes that declare events: annotated ones, pydantic's and msgspec's.

Each kind checks data, encodes it and describes it in its own way, behind one contract.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..event import json_of
from .annotations import Reader, Schema, Shape, Unfit, is_annotated
from .schemas import modern, renamed

Dumps = Callable[[Any], str]


class DataClass(Protocol):
    """A class that declares the data of events."""

    def encode(self, data: Any, *, dumps: Dumps) -> str:
        """Return the JSON of an instance, or of data that could be one.

        ``dumps`` is that of the app. Raises Unfit if the data does not fit the class,
        and InvalidEvent for values that JSON does not have.
        """
        ...

    def schema(self) -> Schema:
        """Return the JSON Schema of the data as clients receive it."""
        ...


def data_class(cls: object) -> DataClass | None:
    """Return the class as a declaration of data; None if it is of another kind."""
    if not isinstance(cls, type):
        return None
    # Models of pydantic 2, and dataclasses that pydantic checks.
    if hasattr(cls, "__pydantic_validator__"):
        return _Pydantic(cls)
    if hasattr(cls, "__struct_config__"):
        return _Msgspec(cls)
    return _Annotated(cls) if is_annotated(cls) else None


class _Annotated:
    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._read: tuple[Shape, Reader] | None = None

    def encode(self, data: Any, *, dumps: Dumps) -> str:
        form, _ = self._form()
        return json_of(form.plain(data), dumps=dumps)

    def schema(self) -> Schema:
        form, reader = self._form()
        return {**form.schema, "$defs": reader.definitions}

    def _form(self) -> tuple[Shape, Reader]:
        # Not before the first use: the class may name others that follow it.
        if self._read is None:
            reader = Reader(_foreign)
            self._read = (reader.read(self._cls), reader)
        return self._read


def _foreign(cls: type, definitions: dict[str, Schema]) -> Shape | None:
    """Return the form of a model of pydantic or msgspec within an annotation."""
    found = data_class(cls)
    if found is None or isinstance(found, _Annotated):
        return None
    model = found

    def name(other: str) -> str:
        return f"{other}:{cls.__module__}.{cls.__qualname__}"

    def reference(other: str) -> str:
        return f"#/$defs/{name(other)}"

    schema = model.schema()
    for other, each in schema.pop("$defs", {}).items():
        definitions[name(other)] = renamed(each, reference)
    if "$ref" not in schema:
        definitions[name(cls.__name__)] = renamed(schema, reference)
        schema = {"$ref": f"#/$defs/{cls.__name__}"}

    def plain(value: Any) -> Any:
        return json.loads(model.encode(value, dumps=json.dumps))

    return Shape(renamed(schema, reference), plain)


class _Pydantic:
    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._made: Any = None

    def encode(self, data: Any, *, dumps: Dumps) -> str:  # noqa: ARG002
        model = data if isinstance(data, self._cls) else self._validated(data)
        return json_of(model, dumps=self._dumps)

    def schema(self) -> Schema:
        config = getattr(self._cls, "model_config", {})
        found: Schema = self._adapter().json_schema(
            mode="serialization",
            by_alias=config.get("serialize_by_alias", False),
            schema_generator=_schema_generator(),
        )
        return modern(found)

    def _validated(self, data: Any) -> Any:
        from pydantic import ValidationError

        try:
            return self._adapter().validate_python(data)
        except ValidationError as error:
            # Its own text has the values, which may be secrets.
            first = error.errors(include_url=False, include_input=False)[0]
            raise Unfit(first["msg"], *first["loc"]) from None

    def _dumps(self, model: Any) -> str:
        from pydantic_core import PydanticSerializationError

        adapter = self._adapter()
        try:
            text: bytes = adapter.dump_json(model, warnings="error")
        except PydanticSerializationError:
            # Values that were set without a check. Checked now, they have a text.
            self._validated(adapter.dump_python(model, warnings=False))
            raise Unfit("a value is not of the type of its field") from None
        return text.decode()

    def _adapter(self) -> Any:
        if self._made is None:
            from pydantic import TypeAdapter

            self._made = TypeAdapter(self._cls)
        return self._made


def _schema_generator() -> type:
    from pydantic.json_schema import GenerateJsonSchema

    class SentJsonSchema(GenerateJsonSchema):
        """A schema that knows that fields with defaults are sent too."""

        def field_is_required(self, field: Any, total: bool) -> bool:
            if field["type"] == "typed-dict-field":
                return super().field_is_required(field, total)
            return not any(name.startswith("serialization_exclude") for name in field)

    return SentJsonSchema


class _Msgspec:
    def __init__(self, cls: type) -> None:
        self._cls = cls

    def encode(self, data: Any, *, dumps: Dumps) -> str:  # noqa: ARG002
        return json_of(data, dumps=self._dumps)

    def schema(self) -> Schema:
        import msgspec

        (schema,), definitions = msgspec.json.schema_components(
            [self._cls], ref_template="#/$defs/{name}"
        )
        structs = _structs(msgspec.inspect.type_info(self._cls), set())
        sparse = {
            each.__name__ for each in structs if each.__struct_config__.omit_defaults
        }
        for each in definitions.values():
            # The title of a generic one has its arguments too.
            if each.get("title", "").partition("[")[0] not in sparse:
                _require_defaults(each)
        return modern({**schema, "$defs": definitions})

    def _dumps(self, data: Any) -> str:
        import msgspec

        try:
            if not isinstance(data, self._cls):
                data = msgspec.convert(data, self._cls)
            text = msgspec.json.encode(data)
            # A Struct does not check its values, but its decoder does.
            msgspec.json.decode(text, type=type(data))
        except (msgspec.ValidationError, TypeError) as error:
            raise Unfit(str(error)) from None
        return text.decode()


def _structs(found: Any, seen: set[type]) -> Iterator[Any]:
    """Yield the Structs of a type that msgspec describes, with those within it."""
    if isinstance(found, tuple | list):
        for each in found:
            yield from _structs(each, seen)
        return
    cls = getattr(found, "cls", None)
    if not hasattr(found, "__struct_fields__") or cls in seen:
        return
    if cls is not None:
        seen.add(cls)
    if hasattr(cls, "__struct_config__"):
        yield cls
    for name in found.__struct_fields__:
        yield from _structs(getattr(found, name), seen)


def _require_defaults(schema: Schema) -> None:
    """Add the properties with a default to the required ones: they are sent too."""
    properties = schema.get("properties", {})
    present = {name for name, each in properties.items() if "default" in each}
    if present:
        present.update(schema.get("required", ()))
        schema["required"] = [name for name in properties if name in present]
