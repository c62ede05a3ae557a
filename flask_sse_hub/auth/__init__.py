"""Authentication and authorization: visitors, their sessions and their channels.

Knows Flask-Login, sessions and signatures. Does not know how streams are delivered. May
import ``hub`` and the packages below it.
"""
