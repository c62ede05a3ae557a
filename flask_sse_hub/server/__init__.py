"""The WSGI server around us: its worker, its places, its connections, its listener.

Knows gunicorn, gevent's own server and Werkzeug's. Does not know events, clients or the
hub. May import ``runtime``.
"""
