"""Answers that outlive their readers: records in the log, which every worker folds.

Knows hubs, records and iterables. Does not know requests or Flask, so that processes
outside the app can produce too. A package of its own, because the other modules here
need neither a log nor a hub.
"""
