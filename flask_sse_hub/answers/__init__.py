"""Answers: the stream of one request, made from an iterable of the app.

Knows requests and iterables. Does not know brokers; of the hub's streams it shares only
the response. May import ``streams`` and the packages below it.
"""
