"""Sending control records: in the background, with retries, bounded.

So that whoever ends streams, a logout for one, neither fails nor waits because the
broker is away. Does not know what the records say.
"""

import contextlib
import logging
import secrets
import threading
import time
from dataclasses import replace

from ..brokers import Broker
from ..errors import BrokerUnavailable
from ..events.record import Record

log = logging.getLogger(__name__)

# How often a record is tried while the broker is away, and how long the waits between
# grow to: about a minute and a half in all.
_TRIES = 8
_MAX_WAIT_SECONDS = 30.0


class ControlSender:
    """Append control records to a broker's log, sooner or later."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def send(self, record: Record) -> None:
        """Append a record in the background."""
        record = replace(
            record,
            # Repeated after an answer that was lost, it would end streams that were
            # opened in between.
            idempotency_key=f"control-{secrets.token_hex(8)}",
        )
        sender = threading.Thread(
            target=self.append, args=(record,), name="sse-hub-control", daemon=True
        )
        try:
            sender.start()
        except RuntimeError:
            # The process has no room for another thread. One try is better than none.
            log.exception("no thread to end streams elsewhere with")
            with contextlib.suppress(BrokerUnavailable):
                self._broker.publish(record)

    def append(self, record: Record) -> None:
        """Append a record, trying again while the broker is away."""
        for attempt in range(_TRIES):
            try:
                self._broker.publish(record)
            except BrokerUnavailable as error:
                log.warning("streams elsewhere are not ended yet: %s", error)
                time.sleep(min(2.0**attempt, _MAX_WAIT_SECONDS))
            else:
                return
        log.error("streams elsewhere could not be ended; they go on until their age")
