"""The brokers that the contract suite runs on; add yours to run it too."""

from collections.abc import Callable, Iterator

import pytest

from flask_sse_hub.brokers import Broker, MemoryBroker
from flask_sse_hub.history import Retention

MakeBroker = Callable[[Retention], Broker]


@pytest.fixture(params=["memory"])
def make_broker(request: pytest.FixtureRequest) -> Iterator[MakeBroker]:
    """Return what makes a broker on a log of its own; all are closed at the end."""
    made: list[Broker] = []

    def make(retention: Retention) -> Broker:
        broker = {"memory": MemoryBroker}[request.param](retention)
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()
