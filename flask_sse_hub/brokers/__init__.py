"""Brokers: one ordered, bounded log each, chosen by URL."""

from .base import Batch, Broker, Replay
from .memory import MemoryBroker

__all__ = ["Batch", "Broker", "MemoryBroker", "Replay"]
