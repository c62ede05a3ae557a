"""The server of ``flask sse mock``: front ends can be developed without their app.

Knows scripts and HTTP. Does not know hubs, brokers or apps. May import ``events``,
``server`` and the packages below them.
"""
