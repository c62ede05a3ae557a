"""Brokers: each keeps one ordered, bounded log, and a URL chooses between them.

``base`` is the contract. ``memory``, ``sqlite`` and ``redis`` are the implementations
for one process, one machine and many machines; ``factory`` picks one by its URL. A
broker knows records and cursors. It deliberately does not know clients, sockets or
Flask. May import ``events``, ``server`` and the packages below them.
"""

from .base import Broker, LogBatch, LogState, Replay
from .factory import check_name, check_url, create_broker, is_redis
from .memory import MemoryBroker

__all__ = [
    "Broker",
    "LogBatch",
    "LogState",
    "MemoryBroker",
    "Replay",
    "check_name",
    "check_url",
    "create_broker",
    "is_redis",
]
