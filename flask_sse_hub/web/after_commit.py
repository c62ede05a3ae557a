"""Events of one app that follow its database transactions.

Joins the database wing, the app's log and its signals. Does not know SQLAlchemy.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from flask import Flask, current_app, has_app_context, request_started

from ..database import joining
from ..database.uncommitted import Destination
from ..events.pending import PendingEvent
from ..events.record import Record
from ..hub.hub import Hub
from ..hub.stats import OutboxStats
from ..runtime.coded_log import CodedLog
from ..runtime.per_process import PerProcess
from ..runtime.rare_log import RareLog
from ..runtime.survival import surviving
from ..signals import event_lost
from . import receivers

if TYPE_CHECKING:
    from ..database.outbox import Outbox
    from ..database.relay import Relay

log = CodedLog(__name__)

# A relay looks every few seconds. Events that wait for longer wait for a broker, or for
# a database.
_LONG_SECONDS = 60.0


class AfterCommit:
    """The events of one app that wait for commits, and the relay of its outbox."""

    def __init__(
        self,
        app: Flask,
        outbox: "Outbox | None",
        *,
        append: Callable[[Record], str],
        hub: Callable[[], Hub],
    ) -> None:
        self._app = app
        self._outbox = outbox
        self._append = append
        self._hub = hub
        self._rare_log = RareLog(log)
        self._destination = Destination(append, self._lost)
        self._relays = (
            None if outbox is None else PerProcess(lambda: self._create_relay(outbox))
        )

    def publish(self, after: object, record: Record, *, stored: bool) -> PendingEvent:
        """Publish a record once a transaction commits; through the outbox if stored.

        Raises InvalidOption.
        """
        if stored:
            return joining.store(after, record, self._outbox, self._ring)
        return joining.append_after(after, record, self._destination)

    @property
    def relay(self) -> "Relay | None":
        """The relay of this process, None without an outbox."""
        return None if self._relays is None else self._relays.get()

    def stats(self) -> OutboxStats | None:
        """Return the state of the outbox, None without one."""
        relay = self.relay
        return None if relay is None else relay.stats()

    def warnings(self) -> list[str]:
        """Return what health warns of: events that wait for long."""
        outbox = self.stats()
        if outbox is None or outbox.age < _LONG_SECONDS:
            return []
        text = "%d events wait in the outbox, the oldest for %d s: the log says why"
        return [text % (outbox.waiting, outbox.age)]

    def start(self) -> None:
        """Start to pass on stored events, if there is an outbox."""
        relay = self.relay
        if relay is not None:
            relay.start()

    def watch(self, app: Flask) -> None:
        """Start at the first request of any kind: the last worker may have been killed.

        With memory:// and without streams, the relay only waits.
        """
        if self._relays is not None:
            receivers.connect(request_started, self._request_started, app)

    def _request_started(self, app: Flask, **__: object) -> None:
        receivers.disconnect(request_started, self._request_started, app)
        with surviving(
            lambda: log.exception("SSE-1508", "the outbox's relay cannot be started")
        ):
            self.start()

    def pass_on(self) -> None:
        """Pass on the stored events now, in the calling thread."""
        relay = self.relay
        if relay is not None:
            relay.catch_up()

    def close(self) -> None:
        """End this process's relay. The next use makes another one."""
        relay = None if self._relays is None else self._relays.pop()
        if relay is not None:
            relay.close()

    def _ring(self, event: PendingEvent, record: Record) -> None:
        relay = self.relay
        if relay is not None:
            relay.ring(event, record)

    def _create_relay(self, outbox: "Outbox") -> "Relay":
        from ..database.relay import Relay

        return Relay(
            outbox,
            append=self._append,
            context=self._context,
            may_append=self._may_append,
        )

    def _context(self) -> AbstractContextManager[object]:
        """Return the app's context; nothing where code runs in it already.

        The end of a second one would remove a session that belongs to the thread, in
        the middle of the request that commits.
        """
        if has_app_context() and current_app == self._app:
            return nullcontext()
        return self._app.app_context()

    def _may_append(self) -> bool:
        hub = self._hub()
        if hub.reach != "process":
            return True
        # With memory://, a shell, or a worker that goes away, would take events from
        # the process that has the clients.
        return hub.ready and not hub.draining

    def _lost(self, record: Record, error: BaseException) -> None:
        self._hub().lost_after_commit()
        try:
            event_lost.send(self._app, event=record.content, error=error)
        except Exception:  # noqa: BLE001 - it is logged
            # The transaction has been committed, and its code goes on as usual.
            self._rare_log.exception(
                "SSE-1507", "a receiver of the signal event_lost failed"
            )
