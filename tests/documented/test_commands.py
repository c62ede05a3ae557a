"""The targets and packages in install and build commands exist."""

import importlib.metadata
import json
import re
import shlex
import signal
import sys
from configparser import ConfigParser

import pytest

from benchmarks.compare import __main__ as compare
from benchmarks.compare import page
from benchmarks.compare.results import Results
from tests.documented.samples import ROOT, sample, samples
from tests.documented.shell import commands

MAKE = [
    *commands(sample("README.md", "sh", with_="make run")),
    *commands(sample("benchmarks/README.md", "sh", with_="make bench-peers")),
]
COMPARE = commands(sample("benchmarks/README.md", "sh", with_="benchmarks.compare"))
PIP = [
    *commands(sample("README.md", "sh", with_="pip install")),
    *commands(sample("docs/quickstart.md", "sh", with_="pip install")),
    *commands(sample("docs/tracing.md", "sh")),
    *(line for each in samples("docs/clients.md", "sh") for line in commands(each)),
]
NPM = [
    *(line for each in samples("docs/htmx.md", "sh") for line in commands(each)),
    *commands(sample("docs/turbo.md", "sh")),
    *commands(sample("docs/alpine.md", "sh")),
]


@pytest.mark.parametrize("command", MAKE)
def test_a_target_of_make_exists(command: str) -> None:
    """It has a help text, by which newcomers find it."""
    make, *targets = shlex.split(command, comments=True)
    assert make == "make"
    assert targets
    for target in targets:
        text = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{target}:.*## ", text, re.MULTILINE)


@pytest.mark.parametrize("command", PIP)
def test_a_package_of_pip_is_the_one_that_tests_use(command: str) -> None:
    """The package's extras are in setup.cfg. Other packages are installed for tests."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    pip, install, *packages = shlex.split(command)
    assert [pip, install] == ["pip", "install"]
    for given in packages:
        # A package may be followed by its address, or be a folder.
        package = given.partition(" @ ")[0]
        name, _, extras = package.rstrip("]").partition("[")
        if name in (".", "../flask_sse_hub", config["metadata"]["name"]):
            known = config["options.extras_require"]
            assert {extra for extra in extras.split(",") if extra not in known} == set()
        else:
            assert importlib.metadata.version(name)


@pytest.mark.parametrize("command", NPM)
def test_a_package_of_npm_is_the_one_that_tests_use(command: str) -> None:
    """It is the version that the page is about."""
    known = json.loads((ROOT / "tests/package.json").read_text())["devDependencies"]
    versions = [
        version.removeprefix("npm:") if "npm:" in version else f"{name}@{version}"
        for name, version in known.items()
    ]
    npm, install, *packages = shlex.split(command)
    assert [npm, install] == ["npm", "install"]
    for package in packages:
        start = f"{package}." if "@" in package[1:] else f"{package}@"
        assert any(version.startswith(start) for version in versions), package


def test_a_part_of_the_comparison_can_be_selected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command names servers and scenarios that exist."""
    (command,) = COMPARE
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "benchmarks.compare"]
    asked: list[int] = []

    def run(*, rounds: int, **_: object) -> Results:
        asked.append(rounds)
        return Results(rounds=rounds)

    monkeypatch.setattr(sys, "argv", words[2:])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(compare, "run", run)
    monkeypatch.setattr(page, "tables", lambda _: "")
    assert compare.main() == 0
    assert asked == [3]
