"""The brokers of the contract suite, for tests of hubs that share a log."""

from tests.unit.brokers.conftest import make_broker

__all__ = ["make_broker"]
