"""The WSGI server that runs this process: its worker, places, connections and listener.

Knows gunicorn, gevent's own server and Werkzeug's. Does not know events, clients or the
hub. May import ``runtime`` and ``errors``.
"""
