"""Receipts: to how many streams and people an event was written, on all workers.

A fold of the log. Knows clients, presence and records. Does not know Flask, or how an
event reaches a socket.
"""
