"""The browser client as an npm package, for bundlers.

Knows the package's files and folders. Does not know Flask or the command line.
"""

import json
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from ..errors import InvalidOption

#: The package's name. Modules import the client by it, with and without a bundler.
NAME = "sse-hub"

# The Python package whose folder ``static`` has the built files.
_PACKAGE = "flask_sse_hub"


def files() -> Sequence[Traversable]:
    """Return the files of the npm package, sorted by name."""
    folder = resources.files(_PACKAGE) / "static"
    return sorted(folder.iterdir(), key=lambda file: file.name)


def file(name: str) -> bytes:
    """Return the content of a file of the npm package."""
    return (resources.files(_PACKAGE) / "static" / name).read_bytes()


def write(folder: Path) -> list[Path]:
    """Write the npm package into a folder, and return the paths of its files.

    The folder is created if it does not exist. Its other files are left alone. Raises
    InvalidOption if it is the folder of another npm package, and OSError.
    """
    _refuse_another_package(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for each in files():
        path = folder / each.name
        path.write_bytes(each.read_bytes())
        written.append(path)
    return written


def _refuse_another_package(folder: Path) -> None:
    path = folder / "package.json"
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return
    except ValueError:
        found = None
    name = found.get("name") if isinstance(found, dict) else None
    if name != NAME:
        raise InvalidOption(
            f"{path} describes another package, named {name!r}: give the client a"
            f" folder of its own, such as {folder / NAME}"
        )
