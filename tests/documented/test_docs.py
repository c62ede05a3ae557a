"""The documentation agrees with the code."""

import json
import re
import subprocess
from dataclasses import fields
from inspect import getsource
from pathlib import Path

import pytest
from flask import Flask

from docs.make_configuration import page
from docs.make_pictures import DRAWINGS
from docs.make_pictures import FOLDER as PICTURES
from flask_sse_hub import ClientStats, CloseReason, HubStats, WorkerStats
from flask_sse_hub.events.event import EVERY_TYPE, RESERVED_TYPES
from flask_sse_hub.events.record import GapReason
from flask_sse_hub.web.config import Config
from tests.conftest import MakeSite
from tests.documented.samples import sample

ROOT = Path(__file__).parents[2]

ENVIRONMENT = sample("docs/configuration.md", "sh", with_="FLASK_SSE_HUB_MAX_AGE")
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "benchmarks/README.md",
        ROOT / "example_app/README.md",
    ]
)


def test_the_configuration_page_is_generated_from_the_code() -> None:
    """Every key is listed; `python -m docs.make_configuration` writes the page."""
    assert (ROOT / "docs/configuration.md").read_text() == page()


def test_the_pictures_are_drawn_from_the_code() -> None:
    """`python -m docs.make_pictures` writes them, one of them from the benchmarks."""
    drawn = {f"{name}.svg": draw().svg() for name, draw in DRAWINGS.items()}
    found = {path.name: path.read_text() for path in PICTURES.iterdir()}
    assert found == drawn


def test_the_settings_of_the_environment_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lists are written in JSON, as the configuration page shows."""
    done = subprocess.run(
        ["sh", "-c", f"{ENVIRONMENT}env -0"], capture_output=True, text=True, check=True
    )
    for line in done.stdout.split("\0"):
        name, _, value = line.partition("=")
        if name.startswith("FLASK_SSE_HUB_"):
            monkeypatch.setenv(name, value)
    app = Flask("any")
    app.config.from_prefixed_env()
    config = Config.read(app.config)
    assert config.max_age == 600
    assert config.public_channels == ("news", "orders.*")


def test_every_route_is_in_openapi_json(make_site: MakeSite) -> None:
    """openapi.json describes each path and method of the blueprint, and no others."""
    site = make_site(publish_tokens=["a-token-for-everything"])
    described = json.loads((ROOT / "docs/openapi.json").read_text())["paths"]
    assert {(path, method) for path in described for method in described[path]} == {
        (rule.rule, method.lower())
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint.startswith("sse_hub.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_openapi_json_refuses_the_types_that_publish_refuses() -> None:
    """A client that is generated from it tells so before it asks."""
    described = json.loads((ROOT / "docs/openapi.json").read_text())["components"]
    (_, refused) = described["schemas"]["Event"]["properties"]["type"]["allOf"]
    assert set(refused["not"]["enum"]) == RESERVED_TYPES | {EVERY_TYPE}


def comments(of: type) -> dict[str, str]:
    """Return each field's comment in the code, for the fields that have one.

    A comment applies to the fields that follow it, up to the next comment.
    """
    body = getsource(of).partition('"""\n')[2]
    found: dict[str, str] = {}
    text, fresh = "", False
    for line in map(str.strip, body.splitlines()):
        if comment := re.match(r"#: (.*)", line):
            text = f"{text} {comment[1]}" if fresh else comment[1]
            fresh = True
        elif field := re.match(r"(\w+): ", line):
            fresh = False
            if text:
                found[field[1]] = text.replace("``", "")
    return found


def test_openapi_json_explains_every_statistic() -> None:
    """The descriptions are the comments in the code."""
    described = json.loads((ROOT / "docs/openapi.json").read_text())["components"]
    figures = described["schemas"]["Stats"]["properties"]
    explained = {name: it.get("description") for name, it in figures.items()}
    assert explained == comments(HubStats)
    figures = described["schemas"]["Worker"]["properties"]
    explained = {
        name: it["description"].replace("null", "None") for name, it in figures.items()
    }
    assert explained == comments(WorkerStats)


@pytest.mark.parametrize(
    ("schema", "of", "added"),
    [
        ("Stats", HubStats, []),
        ("Client", ClientStats, ["worker"]),
        ("Worker", WorkerStats, []),
    ],
)
def test_openapi_json_lists_every_statistic(
    schema: str, of: type, added: list[str]
) -> None:
    """The properties have the names and the order of the fields, and what is added."""
    described = json.loads((ROOT / "docs/openapi.json").read_text())["components"]
    names = [part.name for part in fields(of)]
    assert list(described["schemas"][schema]["properties"]) == names + added


def test_every_reset_reason_is_on_the_concepts_page() -> None:
    """A developer who sees a reset reason can look it up."""
    page = (ROOT / "docs/concepts.md").read_text()
    for reason in GapReason:
        assert f"| `{reason}` |" in page


def test_every_close_reason_is_on_the_operations_page() -> None:
    """An operator can look up the reason in a log line."""
    page = (ROOT / "docs/operations.md").read_text()
    for reason in CloseReason:
        assert f"| `{reason}` |" in page


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_have_a_target(path: Path) -> None:
    """A page that is moved must have its links updated."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_a_section_have_a_target(path: Path) -> None:
    """GitHub generates the anchor from the heading."""
    links = r"\]\((?!https?:)([^)#]*)#([^)]+)\)"
    for target, part in re.findall(links, path.read_text()):
        page = (path.parent / target) if target else path
        if page.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
            parts = {re.sub(r"[^\w\- ]", "", each.lower()) for each in headings}
            assert part in {each.replace(" ", "-") for each in parts}, (target, part)


def test_the_browser_page_names_every_option() -> None:
    """The client's type definitions list the options of connect() and of streams."""
    types = (ROOT / "flask_sse_hub/static/sse-hub.d.ts").read_text()
    page = (ROOT / "docs/browser.md").read_text()
    named: set[str] = set()
    for kind in ("RequestOptions", "StreamOptions"):
        body = types.partition(f"interface {kind}")[2].partition("\n}")[0]
        named |= set(re.findall(r"^    (\w+)\??: ", body, re.M))
    assert len(named) > 10
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_the_browser_page_names_every_reason() -> None:
    """A developer who sees a reason in `error.reason` can look it up."""
    sources = "".join(p.read_text() for p in (ROOT / "client/src").glob("*.js"))
    reasons = set(re.findall(r'(?:StreamError|\berror)\(\s*"([a-z-]+)"', sources))
    page = (ROOT / "docs/browser.md").read_text()
    assert {"unauthorized", "silent", "user-changed"} < reasons
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()
