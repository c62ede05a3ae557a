"""Directories that belong to one user alone, even below a directory such as /tmp.

Does not know which files they hold.
"""

import os
import stat
from pathlib import Path


def private_directory(path: Path) -> Path:
    """Return a directory that only this user can enter; make it if it is missing.

    Raises OSError if the path is not a directory, or belongs to another user.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    # In a directory that all users can write to, another user may have made it first.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(f"{path} is not a directory of this user: remove it")
    return path


def user() -> int:
    """Return the id of this user, 0 on systems without user ids."""
    return os.getuid() if hasattr(os, "getuid") else 0
