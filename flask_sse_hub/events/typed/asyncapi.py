"""The AsyncAPI 3 description of typed events, from their JSON Schemas.

Source: AsyncAPI 3.0.0. Its schemas are those of JSON Schema draft 7, and more.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from .annotations import Schema
from .schemas import Schemas, mapped


def asyncapi(schemas: Schemas, *, name: str, path: str) -> Mapping[str, Any]:
    """Return the description of the app ``name``, whose stream is at ``path``.

    There is one channel for each type of event: a stream has the events of many.
    """
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": name,
            # A version is required. The types of an app have none of their own.
            "version": "0",
            "description": f"Server-sent events of GET {path}. Each channel is the type"
            " of an event, which is in the field `event`.",
        },
        "defaultContentType": "application/json",
        "channels": {
            type: {
                "address": type,
                "messages": {
                    cls: {
                        "name": type,
                        "payload": {"$ref": f"#/components/schemas/{cls}"},
                    }
                },
            }
            for type, cls in schemas.types.items()
        },
        "operations": {
            type: {
                "action": "send",
                "channel": {"$ref": f"#/channels/{_pointer(type)}"},
            }
            for type in schemas.types
        },
        "components": {
            "schemas": {
                cls: mapped(schema, _draft_7) for cls, schema in schemas.classes.items()
            }
        },
    }


def _draft_7(schema: Schema) -> Schema:
    made = dict(schema)
    if "$ref" in made:
        made["$ref"] = f"#/components/schemas/{made['$ref']}"
    if "prefixItems" in made:
        rest = made.pop("items", True)
        made["items"] = made.pop("prefixItems")
        made["additionalItems"] = rest
    # An object in OpenAPI, and a text in AsyncAPI. "oneOf" says the same.
    made.pop("discriminator", None)
    return made


def _pointer(key: str) -> str:
    """Return a key as a step of a JSON Pointer in the fragment of a URI."""
    return quote(key.replace("~", "~0").replace("/", "~1"))
