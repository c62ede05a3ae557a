"""Directories that belong to one user alone, also where everybody may make some.

Knows nothing of what is put there.
"""

import os
import stat
from pathlib import Path


def private_directory(path: Path) -> Path:
    """Return a directory that only this user can enter, made if it was not there.

    Raises OSError where there is something else, or somebody else's.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    # In a directory that everybody can write to, somebody else may have been first.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(f"{path} is not a directory of this user")
    return path


def user() -> int:
    """Return the number of this user, 0 where users have none."""
    return os.getuid() if hasattr(os, "getuid") else 0
