"""Typed events: classes that declare the data of a type of events.

Knows dataclasses, TypedDicts, and the models of pydantic and msgspec, which it imports
only for a class of theirs. Writes no file. May import the modules of ``events``.
"""
