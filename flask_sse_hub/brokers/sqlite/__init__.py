"""The broker for one machine: a log in an SQLite file.

Knows SQLite, files and Unix sockets. Does not know clients. May import the other
modules of ``brokers`` and the packages below it.
"""

from .broker import SQLiteBroker

__all__ = ["SQLiteBroker"]
