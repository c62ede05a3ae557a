"""Primitives of the interpreter and the kernel, below gevent's patching.

Knows threads, greenlets, locks and sockets. Does not know HTTP, events or clients. May
import ``errors`` and nothing else of this package.
"""
