"""``flask sse types``: the app's typed events for TypeScript and for AsyncAPI.

A thin layer over ``events.typed``.
"""

import json
from typing import TextIO

import click
from flask.cli import AppGroup

from ..errors import SSEHubError
from ..events.typed.asyncapi import asyncapi
from ..events.typed.schemas import Schemas, joined
from ..events.typed.typescript import typescript
from .app_state import AppState

# The file is opened only when its text is ready, so that an error does not empty it.
_FILE = click.File("w", encoding="utf-8", lazy=True)


def add_types_command(group: AppGroup, state: AppState) -> None:
    """Add the command to an app's group."""
    name = state.app.name

    def as_typescript(schemas: Schemas) -> str:
        return typescript(schemas, name=name)

    def as_asyncapi(schemas: Schemas) -> str:
        path = state.config.url_prefix
        found = asyncapi(schemas, name=name, path=path)
        return json.dumps(found, indent=2, ensure_ascii=False) + "\n"

    @group.command()
    @click.option(
        "--typescript",
        "typescript_file",
        type=_FILE,
        help="Write TypeScript types into this file.",
    )
    @click.option(
        "--asyncapi",
        "asyncapi_file",
        type=_FILE,
        help="Write an AsyncAPI 3 description into this file.",
    )
    def types(typescript_file: TextIO | None, asyncapi_file: TextIO | None) -> None:
        """Write the types of the app's typed events.

        Without options, print TypeScript: an interface Events for connect<Events>() of
        the browser client. The classes of @sse_hub.event() are known once the app has
        imported their modules.
        """
        try:
            schemas = joined(state.event_types.schemas())
        except SSEHubError as error:
            raise click.ClickException(str(error)) from error
        if not schemas.types:
            raise click.ClickException(
                'no typed events are declared: put @sse_hub.event("a type") above'
                " their classes, and import their modules in the app"
            )
        if typescript_file is not None:
            typescript_file.write(as_typescript(schemas))
        if asyncapi_file is not None:
            asyncapi_file.write(as_asyncapi(schemas))
        if typescript_file is asyncapi_file is None:
            click.echo(as_typescript(schemas), nl=False)
