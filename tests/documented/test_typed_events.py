"""The page about typed events: its classes, its jobs, and the types that it shows."""

import shlex
from pathlib import Path
from typing import Any

from flask import Flask

from flask_sse_hub import Publisher, SSEHub
from flask_sse_hub.testing import Published
from tests.documented.samples import sample
from tests.documented.shell import commands

PAGE = "docs/typed-events.md"
DECLARE = sample(PAGE, "python", with_="class Shipped")
EVENTS = sample(PAGE, "python", with_="# events.py")
APP = sample(PAGE, "python", with_="# app.py")
TASKS = sample(PAGE, "python", with_="# tasks.py")
COMMAND = sample(PAGE, "sh", with_="--typescript")
TYPES = sample(PAGE, "ts", with_="export interface Events")
TEST = sample(PAGE, "python", with_="sse_published")


def make_app(url: str) -> Flask:
    app = Flask("shop")
    app.config.update(SSE_HUB_BROKER_URL=url, SSE_HUB_LOGIN_REQUIRED=False)
    return app


def test_the_types_are_those_of_the_class(tmp_path: Path, monkeypatch: Any) -> None:
    """The command writes the file that the page shows, and the sample's test passes."""
    app = make_app("memory://")
    names: dict[str, Any] = {"sse_hub": SSEHub(app), "__name__": "shop"}
    exec(DECLARE, names)  # noqa: S102
    (command,) = commands(COMMAND)
    monkeypatch.chdir(tmp_path)
    Path("frontend").mkdir()
    result = app.test_cli_runner().invoke(args=shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    assert Path("frontend/events.ts").read_text() == TYPES
    published = Published(app)
    shipped = names["Shipped"](number=7, at=names["datetime"].now())
    names["ship"] = lambda number: names["sse_hub"].publish(shipped, user=42)
    exec(TEST, names)  # noqa: S102
    names["test_the_buyer_hears_of_it"](published)


def test_a_job_has_the_types_of_the_app(tmp_path: Path) -> None:
    """Its event is of the class that both sides know."""
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    app = make_app(url)
    names: dict[str, Any] = {"SSEHub": SSEHub, "Publisher": Publisher, "app": app}
    names |= {"BROKER_URL": url, "__name__": "events"}
    exec(EVENTS, names)  # noqa: S102
    exec(APP, names)  # noqa: S102
    published = Published(app)
    exec(TASKS, names)  # noqa: S102
    assert published.one(type=names["Imported"], user=42).json() == {"rows": 7}
    names["publisher"].close()
    app.extensions["sse_hub"].broker.close()
