"""Brokers: one ordered, bounded log each, chosen by URL."""

from .base import Broker, LogBatch, Replay
from .factory import check_name, check_url, create_broker, is_redis
from .memory import MemoryBroker

__all__ = [
    "Broker",
    "LogBatch",
    "MemoryBroker",
    "Replay",
    "check_name",
    "check_url",
    "create_broker",
    "is_redis",
]
