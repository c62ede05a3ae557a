"""Ends: streams are ended by the app, by a control record, or by a gap.

Marks a client as closed; the first reason counts. Does not know how the last bytes of a
stream are written, or what is due by the clock.
"""

from collections.abc import Iterable, Iterator

from ...events.address import Address
from ...events.record import UNPLACED, Cursor, Disconnect
from ..clients.client import Client, Identity
from ..clients.close_reason import IMMEDIATE, CloseReason
from ..clients.registry import ClientRegistry
from .ended_sessions import EndedSessions
from .progress import DeliveryProgress
from .stretch import Frame
from .waking import Waking

# How much the clocks of two machines may differ. A client that came while the broker
# was away is judged by the time of control records, and this much too strictly.
CLOCK_SKEW_SECONDS = 60.0


class Ends:
    """End streams in one worker."""

    def __init__(
        self, progress: DeliveryProgress, registry: ClientRegistry, waking: Waking
    ) -> None:
        self._progress = progress
        self._registry = registry
        self._waking = waking
        # The lock of the progress guards it.
        self._sessions = EndedSessions()

    def close(self, client: Client, reason: CloseReason) -> None:
        """End a client's stream. The first reason counts."""
        with self._progress.lock:
            self.close_locked(client, reason)
        self._waking.wake((client,))

    def close_locked(self, client: Client, reason: CloseReason) -> None:
        """End a client's stream. The caller holds the lock, and wakes the client."""
        if client.close_reason is None:
            client.close_reason = reason
            if client.connection is not None:
                self._registry.demote(client)
                if reason in IMMEDIATE:
                    # A fan-out in progress may not have come to this client yet.
                    client.sink.cut()

    def end(self, addresses: tuple[Address, ...], disconnect: Disconnect) -> None:
        """End the streams of this worker that belong to some addresses."""
        if disconnect.final:
            with self._progress.lock:
                self._sessions.add(addresses)
        for client in self._registry.belonging(addresses):
            self.close(client, CloseReason.of(disconnect))

    def has_ended(self, address: Address) -> bool:
        """Tell whether an address is known to be final: a session that has ended."""
        return address in self._sessions

    def remember(self, addresses: Iterable[Address]) -> None:
        """Remember the addresses of sessions that ended before this worker looked."""
        with self._progress.lock:
            self._sessions.add(addresses)

    def note(self, frames: list[Frame]) -> None:
        """Remember the final addresses among new records. The caller holds the lock."""
        self._sessions.note(frames)

    def carry_out(self, frame: Frame) -> Iterator[Client]:
        """End the streams that a record ends; yield their clients, to be woken.

        The caller holds the lock.
        """
        if frame.disconnect is None:
            return
        for client in self._registry.belonging(frame.addresses):
            if self._concerns(frame, client):
                self.close_locked(client, CloseReason.of(frame.disconnect))
                yield client

    def _concerns(self, frame: Frame, client: Client) -> bool:
        """Tell whether a control record ends a client that is there when it is read.

        A disconnect concerns the clients whose user was loaded before it. The end of a
        session concerns every client at its addresses. A request may bring the cookie
        of the session after the logout, and note a head of the log that lies behind the
        control record, while this worker has not read that record yet.
        """
        disconnect = frame.disconnect
        if disconnect is not None and (
            disconnect.final or disconnect.reason == CloseReason.SESSION_ENDED
        ):
            return True
        return self.comes_after(frame, client)

    def comes_after(self, frame: Frame, client: Client) -> bool:
        """Tell whether a record is later than the log's head when a client came."""
        return (
            client.since.epoch != self._progress.history.cursor.epoch
            or client.since.offset < frame.offset
        )

    def end_if_disconnected(self, client: Client) -> None:
        """End a client's stream if a control record came since its user was loaded.

        The caller holds the lock.
        """
        if any(owner in self._sessions for owner in client.owners):
            # The request read its session's cookie before the session ended.
            self.close_locked(client, CloseReason.SESSION_ENDED)
        if self._progress.position == UNPLACED:
            # The broker is away; the dispatcher's begin() looks again.
            return
        history = self._progress.history
        since: Cursor | None = client.since
        if since == UNPLACED:
            since = history.before_control(client.loaded_at - CLOCK_SKEW_SECONDS)
        if since is None or not history.covers_control(since):
            if client.identity != Identity():
                # A logout since then can no longer be ruled out.
                self.close_locked(client, CloseReason.GAP)
            return
        for disconnect in history.disconnects(since.offset, client.owners):
            self.close_locked(client, CloseReason.of(disconnect))
