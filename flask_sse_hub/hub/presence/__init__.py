"""Presence: the people in a channel, on all workers, counted once.

A fold of the log. Knows clients, members and records. Does not know Flask, logins or
the rules of an app.
"""
