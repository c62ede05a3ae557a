"""Authentication and authorization: the visitor, its session, and its channels.

Knows Flask-Login, sessions and signatures. Does not know how streams are delivered. May
import ``hub`` and the packages below it.
"""
