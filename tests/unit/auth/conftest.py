"""The people of the tests, and questions to their site."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Site, User
from tests.kit.reader import StreamReader, wait_until

# Short, because the tests wait until the interval has passed.
INTERVAL = 0.2


class People:
    """The users that exist, as a database knows them."""

    def __init__(self, site: Site) -> None:
        self.names = {"alice", "bob"}
        #: Called each time that a user is loaded.
        self.at_load: Callable[[], object] = int
        self.loads = 0
        self._lock = threading.Lock()
        manager_of(site).user_loader(self.load)

    def load(self, name: str) -> User | None:
        with self._lock:
            self.loads += 1
        self.at_load()
        return User(name) if name in self.names else None

    def wait_until_loaded(self) -> None:
        """Wait until every user with an open stream has been loaded again."""
        before = self.loads
        wait_until(lambda: self.loads >= before + 3)


@pytest.fixture
def people(site: Site) -> People:
    return People(site)


def manager_of(site: Site) -> Any:
    return site.app.login_manager  # type: ignore[attr-defined]


def reasons(site: Site) -> dict[str, int]:
    return dict(site.hub.stats().closed)


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


def ends_alone(site: Site, stream: StreamReader, other: StreamReader) -> None:
    """Wait until a stream has ended, and check that another one goes on."""
    stream.wait_for_end()
    site.hub.publish("still here")
    assert other.data(1) == ["still here"]
