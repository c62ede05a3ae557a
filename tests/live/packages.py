"""Packages that cannot be in the environment of the tests, each set in a folder."""

import subprocess
import sys
from pathlib import Path

from tests.wire.real_parts import absent

# Beside the environment, so that `make clean` removes them too.
_FOLDER = Path(__file__).parents[2] / ".venv" / "servers"

# The last gunicorn with an eventlet worker. The environment has a newer one.
_EVENTLET = ("gunicorn<24", "eventlet", "packaging")


def eventlet_packages() -> Path:
    """Return a folder for PYTHONPATH with an old gunicorn and eventlet.

    Only these packages are installed, once: 10 MB in a few seconds. All others come
    from the environment of the tests.
    """
    version = "{}.{}".format(*sys.version_info)
    folder = _FOLDER / f"eventlet-{version}"
    if not (folder / "made").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
        command = [*pip, "--disable-pip-version-check", "--target", str(folder)]
        done = subprocess.run(
            [*command, *_EVENTLET], check=False, capture_output=True, text=True
        )
        if done.returncode:
            absent("eventlet", remedy=f"pip cannot install it: {done.stderr[-500:]}")
        (folder / "made").touch()
    return folder
