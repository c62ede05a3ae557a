"""Answers: the stream of one request, made from an iterable of the app.

Knows requests and iterables. Does not know brokers. Shares only the response class with
the hub's streams. May import ``streams`` and the packages below it.
"""
