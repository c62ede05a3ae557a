"""Tools for testing apps that stream. This module only exports the public names."""

from ..errors import EventMissing, UnexpectedEvent
from .clock import Clock
from .hubs import fresh_hub
from .parser import Parser, ReceivedEvent
from .published import Published, PublishedEvent
from .stream import Stream

__all__ = [
    "Clock",
    "EventMissing",
    "Parser",
    "Published",
    "PublishedEvent",
    "ReceivedEvent",
    "Stream",
    "UnexpectedEvent",
    "fresh_hub",
]
