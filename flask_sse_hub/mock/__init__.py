"""The mock server of ``flask sse mock``, for front ends without their server.

Knows scripts and HTTP. Does not know hubs, brokers or apps. May import ``events``.
"""
