"""The broker of many machines: a log in a Redis stream.

Knows redis-py, which only this package imports. Does not know clients. May import
``brokers``, ``events`` and ``runtime``.
"""

from .broker import RedisBroker

__all__ = ["RedisBroker"]
