"""The documentation says what the code does."""

import json
import re
from dataclasses import fields
from inspect import getsource, isfunction
from pathlib import Path

import pytest

import flask_sse_hub
from docs.make_configuration import page
from flask_sse_hub import ClientStats, CloseReason, HubStats, SSEHub
from flask_sse_hub.hub.delivery.history import GapReason
from tests.conftest import MakeSite

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks/README.md"]
)


def test_the_configuration_page_is_made_from_the_code() -> None:
    """Every key with its default; `python -m docs.make_configuration` writes it."""
    assert (ROOT / "docs/configuration.md").read_text() == page()


def test_the_api_page_names_everything_public() -> None:
    """What can be called, what is raised, and what is sent."""
    text = (ROOT / "docs/api.md").read_text()
    methods = {name for name in vars(SSEHub) if not name.startswith("_")} - {"init_app"}
    assert {name for name in methods if f"sse_hub.{name}" not in text} == set()
    functions = {name for name, it in vars(flask_sse_hub).items() if isfunction(it)}
    public = functions & set(flask_sse_hub.__all__)
    assert {name for name in public if f"`{name}(" not in text} == set()


def test_every_route_is_described_for_programs(make_site: MakeSite) -> None:
    """Each path and method of the blueprint is in openapi.json, and nothing else."""
    site = make_site(publish_tokens=["a-token-for-everything"])
    described = json.loads((ROOT / "docs/openapi.json").read_text())["paths"]
    assert {(path, method) for path in described for method in described[path]} == {
        (rule.rule, method.lower())
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint.startswith("sse_hub.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def comments(of: type) -> dict[str, str]:
    """Return what the code says of each field, where it says something.

    A comment is about the fields that follow it, up to the next one.
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


def test_every_figure_is_explained_for_programs() -> None:
    """By what the code says of it."""
    described = json.loads((ROOT / "docs/openapi.json").read_text())["components"]
    figures = described["schemas"]["Stats"]["properties"]
    explained = {name: it.get("description") for name, it in figures.items()}
    assert explained == comments(HubStats)


@pytest.mark.parametrize(
    ("schema", "of"), [("Stats", HubStats), ("Client", ClientStats)]
)
def test_every_figure_is_described_for_programs(schema: str, of: type) -> None:
    """By its name in the statistics."""
    described = json.loads((ROOT / "docs/openapi.json").read_text())["components"]
    names = [part.name for part in fields(of)]
    assert list(described["schemas"][schema]["properties"]) == names


def test_every_reason_of_a_reset_is_in_the_concepts_page() -> None:
    """Whoever gets one finds what it says."""
    page = (ROOT / "docs/concepts.md").read_text()
    for reason in GapReason:
        assert f"| `{reason}` |" in page


def test_every_close_reason_is_in_the_operations_page() -> None:
    """An operator finds what a log line says."""
    page = (ROOT / "docs/operations.md").read_text()
    for reason in CloseReason:
        assert f"| `{reason}` |" in page


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    """A page that was moved takes its links along."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_to_a_part_of_a_page_find_it(path: Path) -> None:
    """By its heading, as GitHub makes an address of it."""
    links = r"\]\((?!https?:)([^)#]*)#([^)]+)\)"
    for target, part in re.findall(links, path.read_text()):
        page = (path.parent / target) if target else path
        if page.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
            parts = {re.sub(r"[^\w\- ]", "", each.lower()) for each in headings}
            assert part in {each.replace(" ", "-") for each in parts}, (target, part)


def test_the_browser_page_names_every_option() -> None:
    """What connect() takes, and what a stream has, by the client's own types."""
    types = (ROOT / "flask_sse_hub/static/sse-hub.d.ts").read_text()
    page = (ROOT / "docs/browser.md").read_text()
    named: set[str] = set()
    for kind in ("RequestOptions", "StreamOptions"):
        body = types.partition(f"type {kind} = {{")[2].partition("\n};")[0]
        named |= set(re.findall(r"^    (\w+)\??: ", body, re.M))
    assert len(named) > 10
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_the_browser_page_names_every_reason() -> None:
    """Whoever sees one in `error.reason` finds what it says."""
    sources = "".join(p.read_text() for p in (ROOT / "client/src").glob("*.js"))
    reasons = set(re.findall(r'(?:StreamError|\berror)\(\s*"([a-z-]+)"', sources))
    page = (ROOT / "docs/browser.md").read_text()
    assert {"unauthorized", "silent", "user-changed"} < reasons
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()
