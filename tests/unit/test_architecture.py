"""The structure of the package: its import rule, its names and its prose."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

import flask_sse_hub
from tests.documented.samples import sample

#: The import rule as the design page shows it.
WINGS = sample("docs/design/index.md", "text", with_="streams | auth")

ROOT = Path(__file__).parents[2]
PACKAGE = Path(flask_sse_hub.__file__).parent
MODULES = {
    str(path.relative_to(PACKAGE)): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
}

# The wings that are close enough to the event loop to name gevent at all.
KNOW_GEVENT = ("runtime/", "server/")


# Beginnings of a sentence whose subject a reader has to find out.
_PRONOUN = re.compile(
    r"(?:who|whoever|whom|whose|what|whatever|so (?:many|much)|of (?:that|what))\b",
    re.IGNORECASE,
)


def test_imports_run_downwards_as_setup_cfg_says() -> None:
    """The contracts of import-linter hold: wings, the hub's parts, third parties."""
    # In a process of its own: it configures logging.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert found.returncode == 0, found.stdout.decode()


def test_the_design_page_shows_the_rule_that_is_checked() -> None:
    """Its rows are the layers of the contract, and the plugin on top of them."""
    contracts = ConfigParser()
    contracts.read(ROOT / "setup.cfg")
    layers = contracts["importlinter:contract:wings"]["layers"].split()
    assert ["pytest_plugin", *WINGS.split()] == layers


def test_the_top_level_has_only_what_users_import() -> None:
    """Everything else has a wing."""
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert modules == {"errors", "publisher", "pytest_plugin", "signals"}


@pytest.mark.parametrize(
    "name", [name for name in MODULES if not name.startswith(KNOW_GEVENT)]
)
def test_only_two_wings_find_gevent(name: str) -> None:
    """``sys.modules["gevent"]`` and ``import_module("gevent")`` are imports too."""
    found = {
        node.value
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not {each for each in found if re.fullmatch(r"gevent(\.\w+)*", each)}


def _reaches(tree: ast.AST) -> Iterator[str]:
    """Yield each access to an attribute of a hub's attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            owner = node.value.value
            name = owner.id if isinstance(owner, ast.Name) else ""
            name = owner.attr if isinstance(owner, ast.Attribute) else name
            if name in ("hub", "_hub"):
                yield ast.unparse(node)


@pytest.mark.parametrize(
    "name", [name for name in MODULES if not name.startswith(("hub/", "runtime/"))]
)
def test_nothing_outside_reaches_through_the_hub(name: str) -> None:
    """The hub offers verbs. An attribute of its attribute is somebody's inside."""
    assert list(_reaches(MODULES[name])) == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_one_idea(name: str) -> None:
    """A module that grows much beyond four hundred lines has several."""
    assert len((PACKAGE / name).read_text().splitlines()) <= 420


def test_a_class_name_means_one_thing() -> None:
    """Two classes of one name are told apart only by their imports."""
    names = Counter(
        node.name
        for tree in MODULES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(
    "package",
    [
        *("gevent", "flask", "flask_login", "prometheus_client"),
        *("sqlite3", "redis", "pytest"),
        # A process that only publishes has no hub.
        *("flask_sse_hub.hub.hub", "flask_sse_hub.web"),
    ],
)
def test_the_package_does_not_import_what_is_optional(package: str) -> None:
    """An app pays for what it uses."""
    check = f"import sys, flask_sse_hub; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_public_names_are_sorted_and_complete() -> None:
    """``__all__`` lists the names that ``__init__`` imports."""
    assert flask_sse_hub.__all__ == sorted(flask_sse_hub.__all__)
    imported = {
        alias.name
        for node in ast.walk(MODULES["__init__.py"])
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert set(flask_sse_hub.__all__) == imported


def test_every_close_reason_is_explained() -> None:
    """Each reason has a line above it, where an operator who meets it will look."""
    lines = (PACKAGE / "hub/clients/close_reason.py").read_text().splitlines()
    for reason in flask_sse_hub.CloseReason:
        at = next(n for n, line in enumerate(lines) if f'= "{reason}"' in line)
        assert lines[at - 1].strip().startswith("#:"), reason


def _prose() -> Iterator[tuple[str, str]]:
    """Yield the place and text of each docstring and comment of the project."""
    folders = ("flask_sse_hub", "example_app", "tests", "benchmarks", "docs")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    for path in [*paths, ROOT / "gunicorn.conf.py"]:
        if {"node_modules", ".venv"}.intersection(path.parts):
            # Other people's code, such as that of the servers to compare with.
            continue
        text = path.read_text()
        place = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(text)):
            if isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef
            ) and isinstance(docstring := ast.get_docstring(node), str):
                yield place, docstring
        after_comment = False
        for line in text.splitlines():
            comment = re.match(r"\s*#:? (.*)", line)
            if comment and not after_comment:
                yield place, comment[1]
            after_comment = comment is not None


def test_no_docstring_or_comment_begins_with_a_riddle() -> None:
    """A sentence begins with a concrete noun or a verb: it needs no decoding."""
    assert [(place, text) for place, text in _prose() if _PRONOUN.match(text)] == []
