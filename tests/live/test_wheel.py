"""The wheel: built from the sources, and installed where nothing else is."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flask_sse_hub"

USE = """
from importlib import resources
from importlib.metadata import entry_points, version
import flask_sse_hub
from flask import Flask
app = Flask("wheel")
app.config.update(SSE_HUB_BROKER_URL="memory://", SSE_HUB_LOGIN_REQUIRED=False)
sse_hub = flask_sse_hub.SSEHub(app)
assert sse_hub.publish("hello")
client = app.test_client()
assert client.get("/events/sse-hub.js").status_code == 200
(plugin,) = [each for each in entry_points(group="pytest11") if "sse_hub" in each.name]
print(flask_sse_hub.__file__)
"""


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Setuptools builds within the sources, and keeps files of earlier builds there.
    sources = folder / "sources"
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, sources / PACKAGE.name, ignore=leave_out)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    quiet = ("--quiet", "--disable-pip-version-check")
    run(
        *(sys.executable, "-m", "pip", "wheel", *quiet, "--no-deps"),
        *("--wheel-dir", str(folder), str(sources)),
    )
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """A package that setup.cfg does not find would be missing for users only."""
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == ours


def test_an_index_would_show_the_wheel(wheel: Path) -> None:
    """Its metadata is complete, and its description can be rendered."""
    run(sys.executable, "-m", "twine", "check", "--strict", str(wheel))


def test_the_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """It brings what it needs: an app publishes, and serves the browser client."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", str(environment))
    python = str(environment / "bin/python")
    run(python, "-m", "pip", "install", "--quiet", str(wheel))
    where = run(python, "-P", "-c", USE, cwd=tmp_path)
    assert where.startswith(str(environment))
