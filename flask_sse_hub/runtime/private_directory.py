"""Directories that belong to one user alone, even below a directory such as /tmp.

Also decides for which user root makes a file. Does not know which files there are.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import native

# On Linux, the address of a Unix socket has room for 108 bytes with its final zero.
_MAX_ADDRESS_BYTES = 107


def private_directory(path: Path) -> Path:
    """Return a directory that only this user can enter; make it if it is missing.

    Root makes it for the owner of the directory above. Raises OSError if the path is
    not a directory, or belongs to another user.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        give_to_owner_above(path)
    found = path.lstat()
    users = {os.geteuid()} | ({path.parent.stat().st_uid} if _is_root() else set())
    # In a directory that all users can write to, another user may have made it first.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in users:
        raise OSError(f"{path} is not a directory of this user: remove it")
    return path


def make_directories(path: Path) -> None:
    """Make a directory and all that are missing above it, as files are made."""
    missing = [each for each in (path, *path.parents) if not each.is_dir()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        give_to_owner_above(each)


def give_to_owner_above(path: Path) -> None:
    """Give a file that root just made to the owner of the directory it is in.

    A script of root that publishes first would otherwise lock the app's user out of the
    app's own folder. Other users keep what they make, and so does a root that may not
    give files away, as in some containers.
    """
    if _is_root():
        owner = path.parent.stat()
        with suppress(PermissionError):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def short_name(directory: Path, *, room: int) -> Iterator[str]:
    """Give a name of a directory that leaves ``room`` bytes in a socket's address.

    A Unix socket's address cannot be as long as a path. Only Linux has short names for
    long paths. On systems without them, using the address fails.
    """
    if len(os.fsencode(directory)) + 1 + room <= _MAX_ADDRESS_BYTES:
        yield str(directory)
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        # gevent's close may wait for the event loop.
        native.original("os", "close")(descriptor)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def user() -> int:
    """Return the id of this user, 0 on systems without user ids."""
    return os.getuid() if hasattr(os, "getuid") else 0
