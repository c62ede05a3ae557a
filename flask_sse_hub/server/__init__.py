"""The WSGI server that runs this process: its worker, places, connections and listener.

Knows the servers that people run, by name: gunicorn, uWSGI, Apache and others. Does not
know events, clients or the hub. May import ``runtime`` and ``errors``.
"""
