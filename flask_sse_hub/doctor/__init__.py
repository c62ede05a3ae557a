"""``flask sse doctor``: streams through each hop, timed, and the names of broken hops.

Knows HTTP as a client, and the faults of proxies and servers that hold streams back.
Does not know Flask or the hub: the app's shell hands in all that belongs to the app.
"""
