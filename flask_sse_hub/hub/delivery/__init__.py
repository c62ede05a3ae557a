"""From a record of the log to the bytes on each client's socket.

Knows the history, cursors and sockets. Does not know limits, logins or Flask. May
import ``hub.clients``, ``hub.tally`` and the packages below the hub.
"""
