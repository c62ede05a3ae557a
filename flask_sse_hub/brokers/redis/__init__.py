"""The broker for many machines: a log in a Redis stream.

Knows redis-py, which no other package imports. Does not know clients. May import
``brokers``, ``events`` and ``runtime``.
"""

from .broker import RedisBroker

__all__ = ["RedisBroker"]
