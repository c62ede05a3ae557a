"""Hooks: deliveries to the app's own URLs about people and channels, at least once.

A fold of the log. Knows members and records. Does not know people, HTTP or signatures.
"""
