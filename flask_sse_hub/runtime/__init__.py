"""What the package needs of the interpreter and the kernel, below gevent's patching.

Knows threads, greenlets, locks and sockets. Does not know HTTP, events or clients.
Imports nothing of this package but ``errors``.
"""
