"""Waking: wakes the sinks of many clients, a few at a time."""

from collections.abc import Iterable

from ...runtime.greenlets import in_slices
from ..clients.client import Client
from ..clients.close_reason import IMMEDIATE
from ..clients.registry import ClientRegistry

# Clients woken in one piece before everything else in the process gets its turn: a
# millisecond or two.
_WAKES_AT_ONCE = 64


class Waking:
    """Wake the sinks of clients, and cut off clients that must not finish a write."""

    def __init__(self, registry: ClientRegistry) -> None:
        self._registry = registry

    def wake(self, clients: Iterable[Client]) -> None:
        """Wake some clients. The caller holds no lock."""
        for some in in_slices(tuple(clients), size=_WAKES_AT_ONCE):
            for client in some:
                client.sink.wake()
                if client.close_reason in IMMEDIATE and client.sink.writing_since:
                    self._registry.cut(client)
