"""The heart of one worker: publish, follow, connect and resume, drain, statistics.

One Hub lives in each process that uses the extension, made and started when it is first
needed, never before a fork. It does not know Flask, requests or logins.
"""

import atexit
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from ..brokers import Batch, Broker
from ..errors import BrokerUnavailable
from ..events.address import Address
from ..events.coding import Codings
from ..events.event import encode_retry
from ..server.accept_balance import Spread
from .clients.admission import REFUSED_RETRY, Admission
from .clients.client import Client, CloseReason
from .clients.notices import Attendance, Listeners
from .clients.registry import ClientRegistry
from .control import ControlSender
from .delivery.catchup import Catchup
from .delivery.dispatcher import Dispatcher
from .delivery.history import Cursor, Disconnect, History, Record
from .delivery.socket_sink import SocketSink
from .delivery.writer import Writer
from .options import HubOptions
from .stats import ClientStats, HubStats

log = logging.getLogger(__name__)

# A stream may wait so long for its worker's memory to be filled before it goes without.
_START_SECONDS = 5.0

# How long the follower waits before it asks an absent broker again.
_RETRY_START_SECONDS = 1.0

# How long a drain waits for writes in progress. gunicorn looks once a second whether
# its worker is idle, and a worker should be gone at the first look.
_DRAIN_SECONDS = 0.3

# A ping comes after this part of the heartbeat interval in silence. Drawn, so that
# clients that one broadcast served are not all pinged at one moment; below 1, so that
# the look at the clock may be late and the promise still holds.
_PING_AFTER = (0.6, 0.85)


class Hub:
    """Carry events from one broker to the clients of one process."""

    def __init__(
        self,
        broker: Broker,
        options: HubOptions,
        *,
        listeners: Listeners | None = None,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self.broker = broker
        self.options = options
        self.codings = Codings(min_bytes=options.compress_min_bytes)
        self.registry = ClientRegistry()
        self.admission = Admission(options, self.registry, clock=clock)
        self.spread = Spread(self.registry, self.admission, clock=clock)
        self.clock = clock
        self.attendance = Attendance(listeners, clock=clock)
        self._history = History(options.memory, clock=time_of_day)
        self.dispatcher = Dispatcher(
            broker=broker, history=self._history, registry=self.registry, clock=clock
        )
        self._catchup = Catchup(self.dispatcher, broker, clock=clock)
        self.writer = Writer(
            self.dispatcher, self._catchup, self.registry, ends=self, clock=clock
        )
        self._control = ControlSender(broker)
        self._lock = threading.Lock()
        self._tasks = [
            ("follower", self._follow),
            ("writer", self.writer.run),
            ("signals", self.attendance.run),
        ]
        self._drains_at_exit = False
        #: What was logged once and would only be repeated.
        self.said: set[str] = set()
        self._ready = threading.Event()
        # Whether the first attempt to read the log has ended, well or not.
        self._tried = threading.Event()
        #: Set when everything of this hub is to end.
        self.closed = threading.Event()
        #: Whether one of its threads has failed, so that events no longer arrive.
        self.broken = False

    # Publishing

    def publish(self, record: Record) -> Cursor:
        """Append a record to the log and return its cursor, the event's id.

        Works without this worker's streams being started, and while it drains. Raises
        BrokerUnavailable.
        """
        if self.draining and self.broker.reach == "process":
            log.warning(
                "an event is published in a worker that is going away: with memory://"
                " nobody gets it any more"
            )
        return self.broker.publish(record)

    def disconnect(
        self,
        addresses: tuple[Address, ...],
        *,
        reason: CloseReason,
        final: bool = False,
    ) -> None:
        """End the streams that belong to these addresses, on every worker.

        Here at once; elsewhere through the log, in the background and with retries, so
        that a logout neither fails nor waits because the broker is away. ``final`` says
        that the addresses are never used again.
        """
        disconnect = Disconnect(reason, final=final)
        self.dispatcher.end(addresses, disconnect)
        self._control.send(Record(addresses=addresses, content=disconnect))

    @property
    def draining(self) -> bool:
        """Whether this worker is going away."""
        return self.admission.closed

    @property
    def ready(self) -> bool:
        """Whether this process follows the log, and so serves streams."""
        return self._ready.is_set()

    def cursor(self) -> Cursor:
        """Return the head of the log, or this worker's position if it is out of reach.

        The position is at most the head, so nothing after the head can be missed.
        """
        try:
            return self.broker.head()
        except BrokerUnavailable:
            if not self._ready.is_set():
                raise
            return self.dispatcher.position

    # Starting and following

    def run_beside(self, name: str, task: Callable[[], None]) -> None:
        """Have a task run in a thread of its own from the start on."""
        self._tasks.append((name, task))

    def start(self) -> None:
        """Follow the log, once; wait until this worker's memory holds its tail.

        Not while the broker is away, and never more than a few seconds. Raises
        BrokerUnavailable where this process has no room for a thread.
        """
        with self._lock:
            tasks, self._tasks = self._tasks, []
        while tasks:
            try:
                self._start_thread(*tasks[0])
            except RuntimeError as error:
                # The next stream tries again.
                with self._lock:
                    self._tasks += tasks
                raise BrokerUnavailable(
                    "this process has no room for a thread"
                ) from error
            del tasks[0]
        if not self._tried.wait(_START_SECONDS):
            self._tried.set()

    def _start_thread(self, name: str, task: Callable[[], None]) -> None:
        threading.Thread(
            target=self._run, args=(name, task), name=f"sse-hub-{name}", daemon=True
        ).start()

    def _run(self, name: str, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception:  # noqa: BLE001 - it is logged
            # Streams would look alive and bring nothing: their clients shall try
            # another worker, and health must say what is wrong with this one.
            self.broken = True
            try:
                log.exception("the %s of this worker's hub failed", name)
            finally:
                self.drain()

    def _follow(self) -> None:
        trouble = ""
        while not self.closed.is_set():
            try:
                head = self.broker.head()
                start = self.broker.tail(self.options.memory.bytes)
                if start.epoch == head.epoch:
                    break
            except BrokerUnavailable as error:
                if str(error) != trouble:
                    trouble = str(error)
                    log.warning("cannot read the log yet: %s", error)
                self._tried.set()
                self.closed.wait(_RETRY_START_SECONDS)
        else:
            return
        batches = self.broker.follow(start)
        tail: list[Batch] = []
        while (tail[-1].cursor if tail else start).offset < head.offset:
            batch = next(batches, None)
            if batch is None:
                return
            if batch.gap is not None:
                head = start = batch.cursor
                tail.clear()
            else:
                tail.append(batch)
        self.dispatcher.begin(start, tail)
        self._ready.set()
        self._tried.set()
        if trouble:
            log.info("the log can be read now")
        for batch in batches:
            if batch.gap is not None:
                self._catchup.backlog.forget()
            self.dispatcher.accept(batch)

    def close(self) -> None:
        """End everything at once. For tests and scripts; a worker drains instead."""
        self.closed.set()
        for client in self.registry.clients():
            self.dispatcher.close(client, CloseReason.SHUTDOWN)
            self.registry.cut(client)
        self.writer.stop()
        self.attendance.stop()
        self.broker.close()
        atexit.unregister(self._drain_at_exit)
        self.spread.leave()

    # Streams

    def forget_expired(self) -> None:
        """Let go of what is too old, or not asked for any more."""
        self.dispatcher.forget_expired()
        self._catchup.backlog.forget_unused()

    def connect(self, client: Client, *, last_event_id: str | None) -> bytes:
        """Open a stream and return its first bytes.

        Raises ClientRefused and BrokerUnavailable, then nothing is left behind.
        """
        self.start()
        now = self.clock()
        client.opened_at = client.last_write = now
        client.ping_after = self.draw_silence()
        client.ends_at = min(client.ends_at, now + self.draw_age(self.options.max_age))
        with self.admission.entering(client):
            greeting = self._catchup.greet(
                client,
                last_event_id=last_event_id,
                retry=self.draw_retry(),
                heartbeat=self.options.heartbeat_interval,
            )
        self.spread.count()
        for oldest in self.admission.excess(client.identity):
            self.dispatcher.close(oldest, CloseReason.EVICTED)
        if self.draining:
            self.dispatcher.close(client, CloseReason.SHUTDOWN)
        log.debug("%r came, asking for %.50r", client, last_event_id)
        self.attendance.came(client)
        return greeting

    def adopt(
        self, client: Client, sink: SocketSink, *, head: bytes, greeting: bytes
    ) -> None:
        """Have the writer take over the socket of a client that was connected."""
        if not self._drains_at_exit:
            # The server does not wait for streams that it knows nothing of.
            self._drains_at_exit = True
            self._pid = os.getpid()
            atexit.register(self._drain_at_exit)
        self.writer.adopt(client, sink, head=head, greeting=greeting)

    def take(self, client: Client) -> bytes | None:
        """Return the next bytes for a client, b"" if none are due, None at its end."""
        return self._catchup.take(client)

    def farewell(self, client: Client) -> bytes:
        """Return the last bytes of a stream: after a drain, when to come back."""
        if client.close_reason is CloseReason.SHUTDOWN:
            delay = self.draw_retry()
        elif client.close_reason is CloseReason.EVICTED:
            # Back at once it would evict the next one, which would do the same.
            delay = random.uniform(*REFUSED_RETRY)
        else:
            return client.coding.tail
        retry = f"{encode_retry(delay)}\n".encode()
        return client.coding.encode([retry]) + client.coding.tail

    def leave(self, client: Client, reason: CloseReason) -> None:
        """Let go of a client, for the reason it was closed with or else this one."""
        self._let_go(client, reason, beside=False)

    def dismiss(self, client: Client, reason: CloseReason) -> None:
        """Let go of a client as leave() does, for callers that serve everybody.

        Receivers of signals are told beside, so that nobody else waits for them.
        """
        self._let_go(client, reason, beside=True)

    def _let_go(self, client: Client, reason: CloseReason, *, beside: bool) -> None:
        if self.registry.remove(client):
            self.admission.left(client)
            self.dispatcher.forget(client)
            self.spread.count()
            client.close_reason = client.close_reason or reason
            self.attendance.left(client, client.close_reason, beside=beside)

    def draw_silence(self) -> float:
        """Return how long a client's stream may be silent before its next ping."""
        return self.options.heartbeat_interval * random.uniform(*_PING_AFTER)

    def draw_age(self, most: float) -> float:
        """Return how long a stream may live, so that not all end at one moment."""
        return most * random.uniform(0.8, 1.0)

    def draw_retry(self) -> float:
        """Return a reconnect delay of one client's own, in seconds."""
        return random.uniform(*self.options.retry)

    def drain(self) -> None:
        """Say farewell to every client and take no new ones; publishing goes on.

        Returns when all streams have ended, or were cut off because their client did
        not take the farewell in time.
        """
        with self._lock:
            begun, self.admission.closed = self.admission.closed, True
        self.spread.leave()
        clients = self.registry.clients()
        if clients and not begun:
            log.info("draining %d clients", len(clients))
        for client in clients:
            self.dispatcher.close(client, CloseReason.SHUTDOWN)
        left = len(self.registry)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(0.01)
            if len(self.registry) < left:
                # They are going: with very many it takes longer, and none is cut off.
                left = len(self.registry)
                deadline = time.monotonic() + _DRAIN_SECONDS
        for client in self.registry.clients():
            self.registry.cut(client)

    def _drain_at_exit(self) -> None:
        # A forked child has a copy of this, and of the sockets.
        if os.getpid() == self._pid:
            self.drain()

    def stats(self, *, clients: bool = False) -> HubStats:
        """Return what happened so far; ``clients`` adds an entry for each stream."""
        now = self.clock()
        open_clients = self.registry.clients()
        users = {client.identity.user for client in open_clients} - {None}
        dispatcher = self.dispatcher
        return HubStats(
            connections=len(open_clients),
            users=len(users),
            channels=dict(Counter(c for each in open_clients for c in each.channels)),
            delivery=dict(+self.registry.paths),
            lagging=sum(client.lags(now) for client in open_clients),
            opened=self.attendance.opened,
            closed=dict(self.attendance.ended),
            refused=self.admission.refused,
            resets=dict(self._catchup.resets),
            events_in=dispatcher.events_in,
            bytes_in=dispatcher.bytes_in,
            malformed=dispatcher.malformed,
            events_out=self._catchup.events_out,
            bytes_out=self._catchup.bytes_out,
            history_events=len(self._history),
            history_bytes=self._history.bytes,
            position=str(dispatcher.position),
            draining=self.draining,
            clients=tuple(
                ClientStats.of(client, self.registry.written(client), now=now)
                for client in open_clients
            )
            if clients
            else (),
        )
