"""The figures and streams of all workers of one machine, and their form for Prometheus.

Knows the hub of this process and the Unix sockets of the others. Does not know
requests, or which of them may read figures. May import ``hub`` and the packages below
it.
"""
