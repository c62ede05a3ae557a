"""The broker for one machine: a log in an SQLite file.

Knows SQLite, files and Unix sockets. Does not know clients. May import ``brokers``,
``events`` and ``runtime``.
"""

from .broker import SQLiteBroker

__all__ = ["SQLiteBroker"]
