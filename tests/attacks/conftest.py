"""Servers on each shared log, with each way of delivery."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.live.server import DELIVERIES, Server

#: Starts a server with the given settings of its hub.
Start = Callable[..., Server]

_names = itertools.count()


@pytest.fixture(params=["sqlite", "redis"], scope="module")
def broker_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of a log that several workers share."""
    if request.param == "sqlite":
        return {}
    url = request.getfixturevalue("redis_server").url
    return {"broker_url": url, "name": f"hardening-{next(_names)}"}


@pytest.fixture(params=DELIVERIES, scope="module")
def start(request: pytest.FixtureRequest, broker_settings: dict[str, Any]) -> Start:
    """Return a function that starts two workers on the shared log."""

    def start(args: str = "--workers 2", **settings: Any) -> Server:
        settings = broker_settings | {"max_clients_per_user": None} | settings
        return Server(request.param, args=f"{args} --graceful-timeout 3", **settings)

    return start
