"""Tools for testing apps that stream: the public names.

Knows apps, streams and the log. Does not know pytest, which only ``pytest_plugin``
imports. May import everything but that plugin.
"""

from ..errors import EventMissing, UnexpectedEvent
from .clock import Clock
from .hubs import fresh_hub
from .parser import Parser, ReceivedEvent
from .people import People
from .published import Published, PublishedEvent
from .stream import Stream

__all__ = [
    "Clock",
    "EventMissing",
    "Parser",
    "People",
    "Published",
    "PublishedEvent",
    "ReceivedEvent",
    "Stream",
    "UnexpectedEvent",
    "fresh_hub",
]
