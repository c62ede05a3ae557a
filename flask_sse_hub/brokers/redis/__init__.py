"""The broker for many machines: a log in a Redis stream.

Knows redis-py, which no other package imports. Does not know clients. May import the
other modules of ``brokers`` and the packages below it.
"""

from .broker import RedisBroker

__all__ = ["RedisBroker"]
