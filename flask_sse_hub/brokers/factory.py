"""Which broker a URL names. Constructs it; opens nothing."""

from pathlib import Path

from ..history import Retention
from .base import Broker
from .memory import MemoryBroker

_SQLITE = "sqlite:///"


def check_url(url: str) -> None:
    """Raise ValueError for a URL that names no broker."""
    path = url.removeprefix(_SQLITE)
    if url != "memory://" and (path == url or not path):
        raise ValueError(
            "there are memory://, sqlite:///a.db (relative to the instance folder) and"
            " sqlite:////an/absolute/path.db"
        )


def create_broker(url: str, retention: Retention, *, folder: Path) -> Broker:
    """Return the broker for a URL; a relative path of a file is below ``folder``.

    Raises ValueError for a URL that names none.
    """
    check_url(url)
    if url == "memory://":
        return MemoryBroker(retention)
    # Only here: it needs more of the system than an app on memory:// may have.
    from .sqlite import SQLiteBroker

    return SQLiteBroker(folder / url.removeprefix(_SQLITE), retention)
