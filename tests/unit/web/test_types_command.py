"""``flask sse types``: TypeScript and AsyncAPI of an app's typed events."""

import json
from dataclasses import make_dataclass
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_sse_hub import EventTypes, SSEHub
from tests.documented.samples import ROOT
from tests.unit.events.typed.samples import events

#: The compiler of the client's types reads this file.
COMPILED = ROOT / "client/test/types/events.ts"


def run(event_types: EventTypes, *options: str) -> Result:
    app = Flask("shop")
    app.config.update(SSE_HUB_BROKER_URL="memory://", SSE_HUB_LOGIN_REQUIRED=False)
    SSEHub(app, event_types=event_types)
    return app.test_cli_runner().invoke(args=["sse", "types", *options])


def test_the_printed_types_are_those_that_are_compiled() -> None:
    """`npm run check` in client/ compiles them, with a stream that takes them.

    ``flask --app tests.unit.events.typed.samples sse types --typescript
    client/test/types/events.ts`` writes them.
    """
    assert run(events).stdout == COMPILED.read_text()


def test_each_file_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    """Both may be, and nothing is printed then."""
    types, description = tmp_path / "events.ts", tmp_path / "asyncapi.json"
    result = run(events, "--typescript", str(types), "--asyncapi", str(description))
    assert (result.exit_code, result.output) == (0, "")
    assert types.read_text() == COMPILED.read_text()
    found = json.loads(description.read_text())
    assert (found["asyncapi"], found["info"]["title"]) == ("3.0.0", "shop")
    assert "GET /events" in found["info"]["description"]
    assert json.loads(run(events, "--asyncapi", "-").stdout) == found


def broken() -> EventTypes:
    """Return a type whose class names another that nobody has defined."""
    found = EventTypes()
    found.event("broken")(make_dataclass("Broken", [("a", "Nowhere")]))
    return found


@pytest.mark.parametrize(
    ("event_types", "text"),
    [
        (EventTypes(), "no typed events are declared: put @sse_hub.event"),
        (broken(), "the annotations of Broken cannot be read: name 'Nowhere'"),
    ],
)
def test_an_error_leaves_the_file_alone(
    tmp_path: Path, event_types: EventTypes, text: str
) -> None:
    """The command ends with one line, and status 1."""
    path = tmp_path / "events.ts"
    path.write_text("as it was")
    result = run(event_types, "--typescript", str(path))
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {text}")
    assert path.read_text() == "as it was"


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The text names it."""
    result = run(events, "--typescript", str(tmp_path / "none" / "events.ts"))
    assert result.exit_code == 1
    assert "No such file or directory" in result.output
