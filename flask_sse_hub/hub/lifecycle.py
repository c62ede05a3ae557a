"""The life of a client: the one way into the hub, and the one way out.

Joins admission, catch-up, the registry and the notices, so that each client is counted,
announced and let go of exactly once. Does not know sockets or servers.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence

from ..events.event import encode_retry
from ..server.accept_balance import AcceptBalance
from .clients.admission import REFUSED_RETRY, Admission
from .clients.client import Client
from .clients.close_reason import CloseReason
from .clients.notices import Notices
from .clients.registry import ClientRegistry
from .delivery.catchup import Catchup
from .delivery.dispatcher import Dispatcher
from .delivery.ends import Ends
from .options import HubOptions
from .presence.roster import Roster

log = logging.getLogger(__name__)

# The time that a drain waits for writes in progress. gunicorn checks once a second
# whether its worker is idle, and the first check should find it idle.
_DRAIN_SECONDS = 0.3

# A silent stream is sent a ping after this part of the heartbeat interval. The part is
# random, so that clients of one broadcast are not all pinged at one moment. It is below
# 1, so that a ping that is a little late is still within the interval.
_PING_AFTER = (0.6, 0.85)

# The number of different times. With the default interval, pings after one broadcast
# are spread over seven seconds: there are more moments than a worker can tell apart.
_SILENCES = 256


class Lifecycle:
    """Connect clients, end their streams, and let go of them."""

    def __init__(
        self,
        options: HubOptions,
        registry: ClientRegistry,
        admission: Admission,
        accept_balance: AcceptBalance,
        notices: Notices,
        dispatcher: Dispatcher,
        ends: Ends,
        catchup: Catchup,
        roster: Roster,
        *,
        note_end: Callable[[Client, CloseReason], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._registry = registry
        self._admission = admission
        self._accept_balance = accept_balance
        self._notices = notices
        self._dispatcher = dispatcher
        self._ends = ends
        self._catchup = catchup
        self._roster = roster
        self._note_end = note_end
        self._clock = clock
        # Clients share these numbers: one of its own would take 32 bytes of each.
        self._silences = tuple(
            options.heartbeat_interval * random.uniform(*_PING_AFTER)
            for _ in range(_SILENCES)
        )

    @property
    def draining(self) -> bool:
        """Whether this worker is going away."""
        return self._admission.closed

    # In

    def connect(
        self,
        client: Client,
        *,
        last_event_id: str | None,
        warnings: Sequence[str] = (),
    ) -> bytes:
        """Take a client in and return the first bytes of its stream.

        Raises ClientRefused and BrokerUnavailable. Then nothing is left behind.
        """
        now = self._clock()
        client.opened_at = client.last_write = now
        client.ping_after = self.draw_silence()
        client.ends_at = min(client.ends_at, now + draw_age(self._options.max_age))
        with self._admission.entering(client):
            greeting = self._catchup.greet(
                client,
                last_event_id=last_event_id,
                retry=self._draw_retry(),
                heartbeat=self._options.heartbeat_interval,
                warnings=warnings,
            )
        self._accept_balance.count()
        for oldest in self._admission.excess(client.identity):
            self.close(oldest, CloseReason.EVICTED)
        if self.draining:
            self.close(client, CloseReason.SHUTDOWN)
        log.debug("%r connected with the last event id %.50r", client, last_event_id)
        if client.close_reason is None:
            # Otherwise the cookie of a session that has ended makes its user present.
            self._roster.moved(client)
        self._notices.came(client, self._registry.written(client))
        return greeting

    # The end

    def close(self, client: Client, reason: CloseReason) -> None:
        """Mark a stream as ended. The first reason counts.

        Its sink writes the farewell, and lets go of the client afterwards.
        """
        self._ends.close(client, reason)

    def farewell(self, client: Client) -> bytes:
        """Return the last bytes of a stream, with a retry after a drain or eviction.

        The retry follows the ``reset`` that the client is owed. It takes effect at its
        own line. A blank line after it would be an empty event to some clients.
        """
        blocks = self._catchup.owed(client)
        delay = None
        if client.close_reason is CloseReason.SHUTDOWN:
            delay = self._draw_retry()
        elif client.close_reason is CloseReason.EVICTED:
            # If the client came back at once, it would evict another stream of its
            # user, which would come back too, and so on.
            delay = random.uniform(*REFUSED_RETRY)
        if delay is not None:
            blocks.append(encode_retry(delay).encode())
        return client.coding.encode(blocks) + client.coding.tail

    # Out

    def leave(self, client: Client, reason: CloseReason) -> None:
        """Let go of a client. The reason counts if the client was not closed before."""
        self._let_go(client, reason, beside=False)

    def dismiss(self, client: Client, reason: CloseReason) -> None:
        """Let go of a client as leave() does, for callers that serve other clients too.

        Receivers of signals run in another thread, so that no other client waits.
        """
        self._let_go(client, reason, beside=True)

    def _let_go(self, client: Client, reason: CloseReason, *, beside: bool) -> None:
        if self._registry.remove(client):
            self._admission.left(client)
            self._dispatcher.forget(client)
            self._accept_balance.count()
            self._roster.left(client)
            client.close_reason = reason = client.close_reason or reason
            self._note_end(client, reason)
            written = self._registry.written(client)
            self._notices.left(client, written, reason, beside=beside)

    def cut_off(self, client: Client, reason: CloseReason) -> None:
        """End a connection at once and let go of its client.

        Use it if the client's server may be blocked in a write for a long time.
        """
        self._registry.cut(client)
        self.dismiss(client, reason)

    def close_all(self) -> None:
        """End every connection at once."""
        for client in self._registry.clients():
            self.close(client, CloseReason.SHUTDOWN)
            self._registry.cut(client)

    def drain(self) -> None:
        """Say farewell to every client and admit no new ones.

        Returns when all streams have ended, or were cut off because their client did
        not take the farewell in time.
        """
        begun, self._admission.closed = self._admission.closed, True
        self._accept_balance.close()
        clients = self._registry.clients()
        if clients and not begun:
            log.info("draining %d clients", len(clients))
        for client in clients:
            self.close(client, CloseReason.SHUTDOWN)
        left = len(self._registry)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(0.01)
            if len(self._registry) < left:
                # Clients are leaving. With many clients the drain takes longer, and no
                # client is cut off early.
                left = len(self._registry)
                deadline = time.monotonic() + _DRAIN_SECONDS
        for client in self._registry.clients():
            self._registry.cut(client)
        # The process may exit right after. Lines and signals about the last ends get
        # a moment, and no more: they wait for the app's own code.
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._notices.waiting and time.monotonic() < deadline:
            time.sleep(0.01)

    # Random times, so that clients do not all act at one moment

    def draw_silence(self) -> float:
        """Return how long a stream may be silent before its next ping, in seconds."""
        return random.choice(self._silences)

    def _draw_retry(self) -> float:
        """Return a random reconnect delay for one client, in seconds."""
        return random.uniform(*self._options.retry)


def draw_age(most: float) -> float:
    """Return how long a stream may live, in seconds."""
    return most * random.uniform(0.8, 1.0)
