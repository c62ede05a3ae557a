"""A hub's stream as a WSGI server sees it: a response and the iterable inside.

Knows WSGI, Werkzeug's responses and how a socket is taken over. Does not know routes,
logins or the app's configuration. May import ``hub`` and the packages below it.
"""
