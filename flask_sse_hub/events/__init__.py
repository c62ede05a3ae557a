"""Events: their content, their addresses, and their form in the log and on the wire.

Pure values without input or output. Does not know brokers, clients or Flask. May import
``runtime`` and ``errors``.
"""
