"""One process's hub: it follows the log and delivers events to the open streams.

Knows brokers, clients and sockets. Does not know Flask, requests or logins. May import
``brokers`` and the packages below it.
"""
