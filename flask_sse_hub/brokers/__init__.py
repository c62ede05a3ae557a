"""Brokers: one ordered, bounded log each, chosen by URL."""

from .base import Batch, Broker, Replay
from .factory import check_url, create_broker
from .memory import MemoryBroker
from .sqlite import SQLiteBroker

__all__ = [
    "Batch",
    "Broker",
    "MemoryBroker",
    "Replay",
    "SQLiteBroker",
    "check_url",
    "create_broker",
]
