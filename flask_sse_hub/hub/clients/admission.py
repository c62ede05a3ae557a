"""Admission: the limits of one worker, and the clients that they refuse.

Knows the limits, the registry and the server's places. Does not know logins or channel
rules.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...errors import ClientRefused, TooManyStreams
from ...events import address
from ...events.event import encode_retry
from ...runtime.coded_log import CodedLog
from ...runtime.rare_log import RareLog
from ...server.places import PlaceLedger
from ..options import HubOptions
from ..tally import Tally
from .client import Client, Identity
from .registry import ClientRegistry

log = CodedLog(__name__)

#: The kind of delivery in which each stream takes a place of the server.
GENERATOR = "generator"

#: A refused browser comes back after a delay from this range, in seconds: late enough
#: to let a crowded worker recover, drawn so that not all come at once.
REFUSED_RETRY = (10.0, 30.0)


def refusal_stream() -> bytes:
    """Return the whole stream of a refused client.

    It has no blank line: that would make a browser forget its last event id.
    """
    return encode_retry(random.uniform(*REFUSED_RETRY)).encode()


class Admission:
    """Admit clients within the limits of one worker, and refuse all others."""

    def __init__(
        self,
        options: HubOptions,
        registry: ClientRegistry,
        *,
        places: PlaceLedger,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: Set when the worker is going away: no client is admitted any more.
        self.closed = False
        self._options = options
        self._registry = registry
        self._places = places
        places.count_sockets_of(registry)
        self._tally = tally
        self._rare_log = RareLog(log, clock=clock)
        # Guards the clients that are admitted but not registered yet. Limits count them
        # too; otherwise many clients that connect at one moment would exceed a limit.
        self._lock = threading.Lock()
        self._entering: list[Client] = []
        # The number of streams by the network address of their client.
        self._by_ip: Counter[str] = Counter()

    def full(self) -> str | None:
        """Return why no client is admitted for now, None if there is room."""
        full = self._full()
        return None if full is None else full[1]

    def _full(self) -> tuple[str, str] | None:
        """Return the reason why no client is admitted for now, and its text."""
        if self.closed:
            return "draining", "this worker is going away"
        if len(self._registry) + len(self._entering) >= self._options.max_clients:
            return (
                "max_clients",
                f"this worker holds {self._options.max_clients} clients",
            )
        why = self._places.full()
        return None if why is None else ("places", why)

    def check(self, identity: Identity, ip: str | None) -> None:
        """Raise ClientRefused if this user can open no further stream for now."""
        full = self._full()
        if full is not None:
            reason, why = full
            raise self.refusal(ClientRefused(why), reason=reason)
        most = self._options.max_clients_per_user
        if not self._options.evict_oldest and most is not None:
            coming = [each for each in self._entering if _same_user(each, identity)]
            # A client that has just been registered may still be among the coming.
            if len({*coming, *self._streams_of(identity)}) >= most:
                raise self.refusal(
                    TooManyStreams(f"the user has {most} streams open"),
                    reason="user_limit",
                )
        most = self._options.max_clients_per_ip
        if most is not None and ip is not None and self._by_ip[ip] >= most:
            raise self.refusal(
                TooManyStreams(f"{most} streams are open from one network address"),
                reason="ip_limit",
            )

    def refusal(self, refusal: ClientRefused, *, reason: str) -> ClientRefused:
        """Count a refusal and return it. Each kind is logged at most once a minute.

        ``reason`` is a word of the statistics.
        """
        self._tally.refusals[reason] += 1
        self._rare_log.warning(
            "SSE-1301", f"a client was refused: {refusal}", kind=reason
        )
        return refusal

    @contextmanager
    def entering(self, client: Client) -> Iterator[None]:
        """Admit a client that registers within this block. Raises ClientRefused."""
        with self._lock:
            self.check(client.identity, client.ip)
            self._entering.append(client)
            if client.ip is not None:
                self._by_ip[client.ip] += 1
            if client.sink.delivery_kind == GENERATOR:
                self._places.take(client)
        try:
            yield
        except BaseException:
            self.left(client)
            raise
        finally:
            with self._lock:
                self._entering.remove(client)

    def left(self, client: Client) -> None:
        """Free the places that a client has taken. A second call changes nothing."""
        self._places.give_back(client)
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
        """Return the open streams of a user; an anonymous visitor has none."""
        if identity.user is None:
            return []
        return self._registry.belonging((address.user(identity.user),))


def _same_user(client: Client, identity: Identity) -> bool:
    return identity.user is not None and client.user == identity.user
