"""Brokers: one ordered, bounded log each, chosen by URL."""

from .base import Batch, Broker, Replay
from .factory import check_name, check_url, create_broker, is_redis
from .memory import MemoryBroker

__all__ = [
    "Batch",
    "Broker",
    "MemoryBroker",
    "Replay",
    "check_name",
    "check_url",
    "create_broker",
    "is_redis",
]
