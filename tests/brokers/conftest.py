"""The brokers that the contract suite runs on; add yours to run it too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flask_sse_hub.brokers import Broker, create_broker
from flask_sse_hub.history import Retention

MakeBroker = Callable[[Retention], Broker]


@pytest.fixture(params=["memory", "sqlite"])
def make_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeBroker]:
    """Return what makes a broker on a log of its own; all are closed at the end."""
    made: list[Broker] = []

    def make(retention: Retention) -> Broker:
        urls = {"memory": "memory://", "sqlite": f"sqlite:///{len(made)}.db"}
        broker = create_broker(urls[request.param], retention, folder=tmp_path)
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()
