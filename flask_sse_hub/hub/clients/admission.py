"""Admission: who may come in while there is room, and who has to make some.

Knows the limits and the registry; not why else a client could be refused for good.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ...errors import ClientRefused, TooManyStreams
from ...events import address
from ...events.event import encode_retry
from ...runtime.rare_log import SparseLog
from ..options import HubOptions
from .client import Client, Identity
from .registry import ClientRegistry

log = logging.getLogger(__name__)

#: The path of delivery that takes a place of the server's own for each stream.
GENERATOR = "generator"

#: A refused browser comes back after a delay from this range, in seconds: late enough
#: to let a crowded worker recover, drawn so that not all come at once.
REFUSED_RETRY = (10.0, 30.0)

# The part of a server's places that streams leave to ordinary requests.
_KEPT = 20


class Places(NamedTuple):
    """How much a server serves at once, and the setting that says so."""

    at_once: int
    setting: str

    @property
    def for_streams(self) -> int:
        """How many of them streams may take."""
        return max(1, self.at_once - max(1, self.at_once // _KEPT))

    def full(self, taken: int) -> str | None:
        """Return why there is no room beside so many streams, None if there is."""
        if taken < self.for_streams:
            return None
        return (
            f"streams have taken {self.for_streams} of the {self.at_once} requests that"
            f" this worker serves at once ({self.setting}); the rest is kept for"
            " ordinary requests"
        )


def refusal_stream() -> bytes:
    """Return the whole stream of a refused client.

    It has no blank line: that would make a browser forget its last event id.
    """
    return encode_retry(random.uniform(*REFUSED_RETRY)).encode()


class Admission:
    """The limits of one worker."""

    def __init__(
        self,
        options: HubOptions,
        registry: ClientRegistry,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: Set when the worker is going away: nobody is let in any more.
        self.closed = False
        #: Clients refused so far.
        self.refused = 0
        #: What the server has for streams that a generator delivers, if it is limited.
        self.places: Places | None = None
        #: How many of those are taken by streams that are no clients of this hub.
        self.taken_beside: Callable[[], int] = lambda: 0
        self._options = options
        self._registry = registry
        self._sparse_log = SparseLog(log, clock=clock)
        # Guards those who were let in and are not registered yet: limits count them
        # too, or a storm would pass them while everybody is still on the way.
        self._lock = threading.Lock()
        self._entering: list[Client] = []
        # Streams by the network address they came from.
        self._by_ip: Counter[str] = Counter()

    def full(self) -> str | None:
        """Return why nobody is taken in for now, None if somebody is."""
        if self.closed:
            return "this worker is going away"
        if len(self._registry) + len(self._entering) >= self._options.max_clients:
            return f"this worker holds {self._options.max_clients} clients"
        if self.places is None:
            return None
        return self.places.full(self.taken() + self.taken_beside())

    def taken(self) -> int:
        """Return how many of its server's places this hub's clients have taken."""
        entering = sum(each.sink.path == GENERATOR for each in self._entering)
        return self._registry.paths[GENERATOR] + entering

    def check(self, identity: Identity, ip: str | None) -> None:
        """Raise ClientRefused if this person can open no further stream for now."""
        why = self.full()
        if why is not None:
            raise self.refusal(ClientRefused(why))
        most = self._options.max_clients_per_user
        if not self._options.evict_oldest and most is not None:
            coming = [each for each in self._entering if _same_user(each, identity)]
            # Who has just been registered may still be on the way.
            if len({*coming, *self._streams_of(identity)}) >= most:
                raise self.refusal(TooManyStreams(f"the user has {most} streams open"))
        most = self._options.max_clients_per_ip
        if most is not None and ip is not None and self._by_ip[ip] >= most:
            raise self.refusal(
                TooManyStreams(f"{most} streams are open from one network address")
            )

    def refusal(self, refusal: ClientRefused) -> ClientRefused:
        """Count a refusal, and have the log say so now and then; return it."""
        self.refused += 1
        self._sparse_log.say(type(refusal), f"a client was refused: {refusal}")
        return refusal

    @contextmanager
    def entering(self, client: Client) -> Iterator[None]:
        """Let a client in that registers within this block. Raises ClientRefused."""
        with self._lock:
            self.check(client.identity, client.ip)
            self._entering.append(client)
            if client.ip is not None:
                self._by_ip[client.ip] += 1
        try:
            yield
        except BaseException:
            self.left(client)
            raise
        finally:
            with self._lock:
                self._entering.remove(client)

    def left(self, client: Client) -> None:
        """Free what a client has taken, once however often it is said."""
        if client.ip is None:
            return
        with self._lock:
            ip, client.ip = client.ip, None
            if ip is not None:
                self._by_ip[ip] -= 1
                if not self._by_ip[ip]:
                    del self._by_ip[ip]

    def excess(self, identity: Identity) -> list[Client]:
        """Return the user's streams over the limit, oldest first."""
        limit = self._options.max_clients_per_user
        if limit is None:
            return []
        streams = self._streams_of(identity)
        streams.sort(key=lambda client: client.opened_at)
        return streams[: max(0, len(streams) - limit)]

    def _streams_of(self, identity: Identity) -> list[Client]:
        """Return the open streams of a user; nobody in particular has none."""
        if identity.user is None:
            return []
        return self._registry.belonging((address.user(identity.user),))


def _same_user(client: Client, identity: Identity) -> bool:
    return identity.user is not None and client.identity.user == identity.user
