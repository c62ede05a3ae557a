"""TypeScript and AsyncAPI from JSON Schemas. client/test/types has a whole file."""

import json
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from flask_sse_hub.events.typed.asyncapi import asyncapi
from flask_sse_hub.events.typed.schemas import Schemas, joined, modern
from flask_sse_hub.events.typed.typescript import typescript
from tests.documented.samples import ROOT
from tests.unit.events.typed.samples import events
from tests.wire.real_parts import absent


def written(schema: Any) -> str:
    """Return the TypeScript of a schema, as the type of a property."""
    of = {"type": "object", "properties": {"it": schema}, "required": ["it"]}
    text = typescript(Schemas({"Made": of}, {"made": "Made"}), name="app")
    return text.partition("  it: ")[2].partition(";\n}\n\n/**")[0]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "format": "date-time"}, "string"),
        ({"type": ["integer", "null"]}, "number | null"),
        ({"const": "a\u2028*/\\"}, '"a\\u2028*/\\\\"'),
        ({"enum": ["a", 1, None, True]}, '"a" | 1 | null | true'),
        ({"enum": []}, "never"),
        ({"enum": [{"a": 1}]}, "unknown"),
        ({"oneOf": [{"$ref": "Made"}, {"type": "null"}]}, "Made | null"),
        (
            {
                "type": "array",
                "items": {"anyOf": [{"type": "null"}, {"$ref": "Made"}]},
            },
            "(null | Made)[]",
        ),
        ({"type": "array"}, "unknown[]"),
        ({"type": "array", "maxItems": 0}, "[]"),
        (
            {"type": "array", "prefixItems": [{"type": "null"}], "maxItems": 1},
            "[null]",
        ),
        (
            {
                "type": "array",
                "prefixItems": [{"type": "null"}],
                "items": {"type": "string"},
            },
            "[null, ...string[]]",
        ),
        ({"type": "object"}, "{ [key: string]: unknown }"),
        (
            {"type": "object", "additionalProperties": False},
            "{ [key: string]: never }",
        ),
        (
            {"allOf": [{"$ref": "Made"}, {"anyOf": [{"type": "null"}, True]}]},
            "Made & (null | unknown)",
        ),
        ({"$ref": "string"}, "string_"),
        ({"$ref": "1st"}, "_1st"),
        ({"$comment": "timedelta */"}, "unknown /* timedelta * / */"),
        (True, "unknown"),
        (False, "never"),
        (
            {
                "type": "object",
                "properties": {"a-b": {"description": "One\n*/"}},
            },
            '{\n    /**\n     * One\n     * * /\n     */\n    "a-b"?: unknown;\n  }',
        ),
    ],
)
def test_a_schema_has_its_type(schema: Any, expected: str) -> None:
    """Text from an app can end no comment and no literal."""
    assert written(schema) == expected


@cache
def _asyncapi_schema() -> Any:
    name = "tests/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
    path = ROOT / name
    if not path.exists():
        absent("@asyncapi/specs", remedy="run `npm ci` in tests/")
    return jsonschema_rs.validator_for(json.loads(path.read_text()))


def test_schemas_of_older_releases_are_alike() -> None:
    """Pydantic 2.8 wraps the reference to a model, and msgspec 0.18 has null first."""
    null, model = {"type": "null"}, {"$ref": "#/$defs/Item"}
    older = {
        "$defs": {"Item": {"properties": {"next": {"anyOf": [null, model]}}}},
        "allOf": [model],
        "default": None,
    }
    assert modern(older) == {
        "$defs": {"Item": {"properties": {"next": {"anyOf": [model, null]}}}},
        **model,
        "default": None,
    }


def test_the_description_is_valid_asyncapi() -> None:
    """Each type is a channel, and each reference leads somewhere."""
    found = dict(asyncapi(joined(events.schemas()), name="shop", path="/events"))
    _asyncapi_schema().validate(found)
    assert list(found["channels"]) == list(found["operations"])
    assert found["operations"]["address moved/2"]["channel"] == {
        "$ref": "#/channels/address%20moved~12"
    }
    names = {
        text.partition('"')[0]
        for text in json.dumps(found).split('"#/components/schemas/')[1:]
    }
    assert names <= set(found["components"]["schemas"])
    pair = found["components"]["schemas"]["Everything"]["properties"]["pair"]
    # JSON Schema's draft 7 has no "prefixItems".
    assert pair["items"] == [{"type": "integer"}, {"type": "string"}]
    with pytest.raises(jsonschema_rs.ValidationError):
        _asyncapi_schema().validate({**found, "channels": {"a": {"address": 1}}})
