"""Have servers look once at the metadata of all installed packages.

gevent asks for the entry points of its plugins 25 times while it patches, and each time
Python reads the metadata of every installed package. The tests need some 190 packages,
ten times as many as an app: the start of each worker would take half a second longer.

Run as a script, this file installs itself into its environment, for processes that run
gunicorn or use gevent.
"""

import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_NAME = "_entry_points_once"

# Other processes do not pay for the import. One line, because Python runs nothing else.
_PTH = (
    "import sys; "
    'any(name in str(sys.orig_argv) for name in ("gunicorn", "gevent"))'
    f' and __import__("{_NAME}")\n'
)


def look_once() -> None:
    """Keep what the first look finds, for each later question."""
    look = cache(metadata.entry_points)

    def entry_points(**wanted: Any) -> Any:
        return look().select(**wanted)

    metadata.entry_points = entry_points


def install() -> None:
    """Copy this file into the environment's packages, with a line that imports it."""
    (packages,) = {Path(each) for each in sys.path if each.endswith("site-packages")}
    (packages / f"{_NAME}.py").write_text(Path(__file__).read_text())
    (packages / f"{_NAME}.pth").write_text(_PTH)


if __name__ == "__main__":
    install()
elif __name__ == _NAME:
    look_once()
