"""The Flask side: the extension, its blueprint, its configuration and its commands.

Turns requests into calls of the hub. Does not know how events reach a socket. May
import everything but ``testing`` and ``pytest_plugin``.
"""
