"""The open streams of one process: their state, their limits, their statistics.

Knows clients by their addresses. Does not know how bytes reach a socket. May import
``hub.options``, ``hub.tally`` and the packages below the hub.
"""
