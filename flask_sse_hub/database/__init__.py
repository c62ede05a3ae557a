"""The app's own database: events that follow its transactions.

Knows SQLAlchemy, which is an extra: the modules here are imported when an app first
uses them. Does not know Flask. May import the hub and everything below it.
"""
