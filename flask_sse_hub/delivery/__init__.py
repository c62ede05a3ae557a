"""Delivery: the ways in which a client's bytes leave the process."""

from .hijack import HijackedStream
from .stream import EventStream

__all__ = ["EventStream", "HijackedStream"]
