"""The virtual environment that ``make bench-peers`` creates for the Python peers."""

import subprocess
from pathlib import Path

PYTHON = Path(__file__).with_name(".venv") / "bin" / "python"

#: The folder of the apps, which import nothing of this project: the environment lacks
#: the packages that this project needs.
APPS = Path(__file__).with_name("apps")

_ASK = """
import sys
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in sys.argv[1:]))
"""


def absence(module: str) -> str | None:
    """Return why a module cannot run, or None if it can."""
    found = (
        PYTHON.exists()
        and not subprocess.run(
            [PYTHON, "-c", f"import {module}"], stderr=subprocess.DEVNULL, check=False
        ).returncode
    )
    return None if found else f"{module} is not installed: make bench-peers"


def versions(*names: str) -> str:
    """Return the names of packages with their versions."""
    done = subprocess.run(
        [PYTHON, "-c", _ASK, *names], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
