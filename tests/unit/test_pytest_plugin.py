"""The pytest fixtures, used as their page shows them, in a pytest run of its own."""

import os
import re
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path

import pytest

from flask_sse_hub.mock.script import read_script
from flask_sse_hub.pytest_plugin import StreamOptions
from flask_sse_hub.testing import Stream
from tests.documented.samples import sample, samples

ROOT = Path(__file__).parents[2]
TESTING = "docs/testing.md"
PAGE = (ROOT / TESTING).read_text()
PLUGIN = "flask_sse_hub.pytest_plugin"

#: The page's files, by the names in their first lines.
FILES = {
    code.splitlines()[0].removeprefix("# "): code for code in samples(TESTING, "python")
}

MISSING = sample(TESTING, "text", with_="EventMissing")
SCRIPT = sample(TESTING, "json")


def run_pytest(
    folder: Path, *options: str, finds_plugins: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run pytest as a user would, in a folder outside this project.

    Only this plugin is loaded, because plugins of other packages take most of the time.
    With ``finds_plugins`` pytest looks for the plugin itself; otherwise ``-p`` names
    it.
    """
    path = os.pathsep.join([str(ROOT), str(folder)])
    env = {**os.environ, "PYTHONPATH": path}
    if finds_plugins:
        others = {each.name for each in entry_points(group="pytest11")} - {PLUGIN}
        blocked = [option for name in others for option in ("-p", f"no:{name}")]
        options = (*blocked, *options)
    else:
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        options = ("-p", PLUGIN, *options)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-W", "error", *options],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """The files of the page, in a folder."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    return tmp_path


def test_every_example_of_the_page_runs(page: Path) -> None:
    """Each test file has at least one test, and warnings are errors."""
    done = run_pytest(page)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in FILES:
        assert not name.startswith("test_") or f"PASSED {name}::" in done.stdout


def test_a_test_of_a_stream_is_short() -> None:
    """The first example on the page has at most ten lines."""
    assert PAGE.index("# test_shop.py") == PAGE.index("```python") + len("```python\n")
    assert len(FILES["test_shop.py"].splitlines()) <= 10


def test_the_script_of_the_page_is_valid() -> None:
    """Each kind of step in the page's table can be read too."""
    assert len(read_script(SCRIPT)) == len(SCRIPT.splitlines())
    for line in re.findall(r"^\| `(\{.*?\})` \|", PAGE, re.MULTILINE):
        read_script(line.replace("...}", '"..."}'))


def test_pytest_finds_the_plugin_by_itself(page: Path) -> None:
    """The package's metadata declares the plugin by its module name, as -p does."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = config["options.entry_points"]["pytest11"]
    assert declared.strip() == f"{PLUGIN} = {PLUGIN}"
    metadata = page / "shown-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shown\nVersion: 1")
    (metadata / "entry_points.txt").write_text(f"[pytest11]{declared}\n")
    done = run_pytest(page, "test_shop.py", finds_plugins=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_options_of_the_fixture_are_those_of_a_stream() -> None:
    """A type checker reads the options in two places, which must agree."""
    names = set(signature(Stream.__init__).parameters) - {"self", "url"}
    assert set(StreamOptions.__annotations__) == names


def test_a_run_without_streams_does_not_pay_for_them(tmp_path: Path) -> None:
    """Pytest loads the plugin of every installed package in every run."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'flask' not in sys.modules\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failure_says_what_came_instead(page: Path) -> None:
    """The events that came are in pytest's own report, where a user reads it."""
    shop = FILES["shop.py"].replace('type="shipped"', 'type="paid"')
    (page / "shop.py").write_text(shop)
    done = run_pytest(page, "test_shop.py")
    assert done.returncode == 1
    said = re.sub(r"^E {7}", "", done.stdout, flags=re.MULTILINE)
    said = said.partition("flask_sse_hub.errors.")[2].partition("\n\n")[0]
    client = re.compile(r'(?<="client_id":")[^"]*')
    assert client.sub("?", said) == client.sub("?", MISSING.strip())


def test_a_missing_app_fixture_is_explained(tmp_path: Path) -> None:
    """The error names the fixture and says what it must return."""
    (tmp_path / "test_it.py").write_text("def test_it(sse_stream):\n    pass\n")
    done = run_pytest(tmp_path)
    assert done.returncode == 1
    assert "fixture 'app' not found" in done.stdout
    assert "return create_app(" in done.stdout


def test_a_fixture_that_the_app_fixture_lacks_is_named(tmp_path: Path) -> None:
    """The error does not claim that the app fixture is missing."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef app(settings):\n    pass\n\n"
        "def test_it(sse_stream):\n    pass\n"
    )
    done = run_pytest(tmp_path)
    assert "fixture 'settings' not found" in done.stdout
    assert "fixture 'app' not found" not in done.stdout
