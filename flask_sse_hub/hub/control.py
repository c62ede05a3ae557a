"""Control records, sent in the background with a bounded number of retries.

A caller that ends streams, such as a logout, neither fails nor waits because the broker
is away. Does not know the contents of the records.
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

# Tries for one record while the broker is away, and the longest wait between two tries.
# Together the waits take about a minute and a half.
_TRIES = 8
_MAX_WAIT_SECONDS = 30.0


class ControlSender:
    """Append control records to a broker's log, as soon as the broker takes them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def send(self, record: Record) -> None:
        """Append a record in the background."""
        record = replace(
            record,
            # The broker may append a record and its answer be lost. Without a key, the
            # next try would append the record again, and end streams that were opened
            # in between.
            idempotency_key=f"control-{secrets.token_hex(8)}",
        )
        sender = threading.Thread(
            target=self.append, args=(record,), name="sse-hub-control", daemon=True
        )
        try:
            sender.start()
        except RuntimeError:
            # The process has no room for another thread. One try is better than none.
            log.exception("no thread for ending streams on other workers: trying once")
            with contextlib.suppress(BrokerUnavailable):
                self._broker.publish(record)

    def append(self, record: Record) -> None:
        """Append a record; try again while the broker is away."""
        for attempt in range(_TRIES):
            try:
                self._broker.publish(record)
            except BrokerUnavailable as error:
                log.warning("streams on other workers are not ended yet: %s", error)
                time.sleep(min(2.0**attempt, _MAX_WAIT_SECONDS))
            else:
                return
        log.error(
            "streams on other workers could not be ended: each stays open until its"
            " SSE_HUB_MAX_AGE"
        )
