"""Admission: who may come in while there is room, and who has to make some.

Knows the limits and the registry; not why else a client could be refused for good.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from . import address
from .client import Client, Identity
from .errors import ClientRefused, TooManyStreams
from .options import HubOptions
from .registry import ClientRegistry

log = logging.getLogger(__name__)


class Admission:
    """The limits of one worker."""

    def __init__(self, options: HubOptions, registry: ClientRegistry) -> None:
        #: Set when the worker is going away: nobody is let in any more.
        self.closed = False
        #: Clients refused so far.
        self.refused = 0
        self._options = options
        self._registry = registry
        # Guards those who were let in and are not registered yet: limits count them
        # too, or a storm would pass them while everybody is still on the way.
        self._lock = threading.Lock()
        self._entering: list[Identity] = []

    def full(self) -> str | None:
        """Return why nobody is taken in for now, None if somebody is."""
        if self.closed:
            return "this worker is going away"
        if len(self._registry) + len(self._entering) >= self._options.max_clients:
            return f"this worker holds {self._options.max_clients} clients"
        return None

    def check(self, identity: Identity) -> None:
        """Raise ClientRefused if this person can open no further stream for now."""
        why = self.full()
        refusal = None
        if why is not None:
            refusal = ClientRefused(why)
        elif not self._options.evict_oldest and self.excess(
            identity, coming=1 + self._entering.count(identity)
        ):
            refusal = TooManyStreams(
                f"the user has {self._options.max_clients_per_user} streams open"
            )
        if refusal is not None:
            self.refused += 1
            log.warning("a client was refused: %s", refusal)
            raise refusal

    @contextmanager
    def entering(self, identity: Identity) -> Iterator[None]:
        """Let somebody in who registers within this block. Raises ClientRefused."""
        with self._lock:
            self.check(identity)
            self._entering.append(identity)
        try:
            yield
        finally:
            with self._lock:
                self._entering.remove(identity)

    def excess(self, identity: Identity, *, coming: int = 0) -> list[Client]:
        """Return the user's streams over the limit, oldest first."""
        limit = self._options.max_clients_per_user
        if limit is None or identity.user is None:
            return []
        streams = self._registry.belonging((address.user(identity.user),))
        streams.sort(key=lambda client: client.opened_at)
        return streams[: max(0, len(streams) + coming - limit)]
