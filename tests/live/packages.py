"""Packages that cannot be in the environment of the tests, each set in a folder."""

import subprocess
import sys
from pathlib import Path

from tests.wire.real_parts import absent

# Beside the environment, so that `make clean` removes them too.
_FOLDER = Path(__file__).parents[2] / ".venv" / "servers"

#: The packages of each folder, and why they are not in the environment.
SETS = {
    # pip compiles it, which needs the headers of libev.
    "bjoern": ("bjoern",),
    # Its plugin for pytest would trace the tests, and it pins OpenTelemetry.
    "ddtrace": ("ddtrace",),
    # The last gunicorn with an eventlet worker. The environment has a newer one.
    "eventlet": ("gunicorn<24", "eventlet", "packaging"),
    # It patches what it traces at import.
    "newrelic": ("newrelic",),
}


def folder_of(name: str) -> Path:
    """Return where the packages of a set are, or will be."""
    version = "{}.{}".format(*sys.version_info)
    return _FOLDER / f"{name}-{version}"


def packages(name: str) -> Path:
    """Return a folder for PYTHONPATH with the packages of a set.

    Only these packages are installed, once, in a few seconds. All others come from the
    environment of the tests.
    """
    folder = folder_of(name)
    if not (folder / "made").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
        command = [*pip, "--disable-pip-version-check", "--target", str(folder)]
        done = subprocess.run(
            [*command, *SETS[name]], check=False, capture_output=True, text=True
        )
        if done.returncode:
            absent(name, remedy=f"pip cannot install it: {done.stderr[-500:]}")
        (folder / "made").touch()
    return folder
