"""The hub of one process: the operations that the rest of the package calls.

One ``Hub`` lives in each process that uses the extension. It is made and started when
it is first needed, never before a fork. It does not know Flask, requests or logins.
"""

import atexit
import contextlib
import socket
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Literal

from ..brokers import Broker, traced
from ..errors import BrokerUnavailable, ClientRefused
from ..events.address import Address, address_of_client
from ..events.coding import Coding
from ..events.record import Cursor, Disconnect, Record, Subscribe, is_beyond
from ..runtime import sockets
from ..runtime.closing import Closing
from ..runtime.coded_log import CodedLog
from ..runtime.per_process import Home, abandon_after_fork
from ..runtime.rare_log import FirstTime, RareLog
from ..server.places import make_room
from ..server.worker import ServerWorker
from .clients.client import Client, Identity
from .clients.client_stats import ClientStats
from .clients.close_reason import CloseReason
from .clients.journal import StreamLife
from .control import ControlSender
from .counting import client_stats_of, lives_of, stats_of
from .delivery.socket_sink import ClientSocket, SocketSink
from .folds import Fold
from .parts import Parts, Task
from .receipts.fold import Receipt
from .stats import HubStats, OutboxStats
from .tasks import Tasks

log = CodedLog(__name__)

# The longest time that a stream waits until its worker's memory is filled.
_START_SECONDS = 5.0

# The kernel's limit for a silent peer comes this much later than the heartbeat's look
# at clients that take no bytes. Only the heartbeat knows why a stream ended.
_HEARTBEAT_FIRST_SECONDS = 3.0


class Hub:
    """Carry events from one broker to the clients of one process."""

    def __init__(
        self,
        parts: Parts,
        *,
        tasks: Tasks | None = None,
        patience: float = _START_SECONDS,
    ) -> None:
        self._parts = parts
        self._lifecycle = parts.lifecycle
        self._patience = patience
        self._control = ControlSender(parts.broker)
        #: The monotonic clock, in seconds.
        self.clock = parts.clock
        #: The log itself, for commands and tests that read it.
        self.broker: Broker = parts.broker
        #: Set when all tasks of this hub have to end.
        self.closed = Closing()
        #: Whether a task of the hub has failed, so that events no longer arrive.
        self.broken = False
        self._home: Home | None = None
        # Whether this process is a child that a server's worker has forked.
        self._in_child = False
        #: Tell the state of the app's outbox, None without one.
        self.outbox: Callable[[], OutboxStats | None] = lambda: None
        #: Tell whether a thing that is logged only once happens for the first time.
        self.first_time: Callable[[Hashable], bool] = FirstTime()
        self._rare_log = RareLog(log)
        self._tasks = Tasks() if tasks is None else tasks
        #: How many tasks wait for moments of the clock.
        self.tasks_by_clock = 0
        #: The processes of this log that have something running.
        self.members = parts.members
        #: The people in the channels with presence.
        self.roster = parts.roster
        for name, task in parts.tasks_by_clock.items():
            self.run_beside(name, self._until_closed(task), by_clock=True)
        for name, task in parts.tasks.items():
            self.run_beside(name, self._until_closed(task))
        self.run_beside("writer", parts.writer.run)
        self.run_beside("reader", parts.writer.read_behind)
        self.run_beside("signals", parts.notices.run)
        self.run_beside("log of ended streams", parts.notices.run_log)

    def _until_closed(self, task: Task) -> Callable[[], None]:
        # The flag is looked up when the task begins: tests may have put theirs there.
        return lambda: task(self.closed)

    # Publishing

    @property
    def reach(self) -> Literal["process", "machine", "network"]:
        """How far the broker carries events."""
        return self.broker.reach

    def publish(self, record: Record) -> Cursor:
        """Append a record to the log and return its cursor, the event's id.

        Works without this worker's streams being started, and while it drains. Raises
        BrokerUnavailable.
        """
        if self.draining and self.reach == "process":
            self._rare_log.warning(
                "SSE-1504",
                "an event is published in a worker that is going away: with memory://"
                " no client receives it any more",
            )
        tally, begun = self._parts.tally, self.clock()
        try:
            cursor = traced.append(self.broker, record)
        except BrokerUnavailable:
            tally.broker_errors["publish"] += 1
            raise
        tally.publish_latency.observe(self.clock() - begun)
        return cursor

    def lost_after_commit(self) -> None:
        """Count an event that could not be published after its commit."""
        self._parts.tally.lost_after_commit += 1

    def disconnect(
        self,
        addresses: tuple[Address, ...],
        *,
        reason: CloseReason,
        final: bool = False,
        beside: bool = True,
    ) -> None:
        """End the streams that belong to these addresses, on every worker.

        Streams of this worker end at once, and streams elsewhere through the log.
        ``final`` says that the addresses are never used again.

        ``beside`` appends the control record in the background and with retries, so
        that a logout neither fails nor waits because the broker is away. Otherwise the
        record is in the log when the call returns. Then it raises BrokerUnavailable.
        """
        disconnect = Disconnect(reason, final=final)
        self._parts.ends.end(addresses, disconnect)
        record = Record(addresses=addresses, content=disconnect)
        if beside:
            self._control.send(record)
        else:
            self._control.append(record)

    def change_channels(self, client_id: str, change: Subscribe) -> Cursor:
        """Change a client's channels at that place. Raises BrokerUnavailable."""
        to = (address_of_client(client_id),)
        return self._control.append(Record(to, change))

    def has_ended(self, address: Address) -> bool:
        """Tell whether an address is known to be final: a session that has ended."""
        return self._parts.ends.has_ended(address)

    def head(self) -> Cursor:
        """Return the head of the log, for checks. Raises BrokerUnavailable."""
        return self.broker.head()

    def cursor(self) -> Cursor:
        """Return the head of the log, or this worker's position if it is out of reach.

        Both are at most the head, so nothing after the head can be missed. Raises
        BrokerUnavailable before this worker follows the log.
        """
        try:
            return self.broker.seen_head()
        except BrokerUnavailable:
            self._parts.tally.broker_errors["head"] += 1
            if not self.ready:
                raise
            return self._parts.progress.position

    def add_fold(self, fold: Fold) -> None:
        """Have a fold take the records that workers write for each other."""
        self._parts.folds.add(fold)

    def wait_until_read(self, seconds: float) -> None:
        """Wait until the folds have taken everything that is in the log by now.

        Raises BrokerUnavailable if that takes longer.
        """
        self._parts.follower.wait_until_folded(self.cursor(), seconds)

    def receipt(self, cursor: Cursor) -> Receipt | None:
        """Return the receipt of an event; None for an event without one."""
        if is_beyond(cursor, self._parts.progress.position):
            # This worker has not read the event.
            return Receipt()
        return self._parts.clerk.fold.receipt(str(cursor))

    # Starting and ending

    @property
    def draining(self) -> bool:
        """Whether this worker is going away."""
        return self._lifecycle.draining

    @property
    def ready(self) -> bool:
        """Whether this process follows the log, and so serves streams."""
        return self._parts.follower.ready

    def deaf_seconds(self, head: Cursor) -> float:
        """Return for how long this worker has not moved although the log goes on.

        ``head`` is the log's head. A worker that does not follow the log yet is not
        deaf.
        """
        if not self.ready:
            return 0.0
        return self._parts.deafness.seconds(head, now=self.clock())

    def run_beside(
        self, name: str, task: Callable[[], None], *, by_clock: bool = False
    ) -> None:
        """Add a task, which start() runs in a thread of its own.

        ``by_clock`` says that it waits for moments of the hub's clock.
        """
        self.tasks_by_clock += by_clock
        self._tasks.add(name, task)

    def start(self) -> None:
        """Start to follow the log, and wait until this worker's memory holds its tail.

        Only the first call starts the threads. Does not wait while the broker is away,
        and never more than a few seconds. Raises BrokerUnavailable if this process has
        no room for a thread.
        """
        if self.first_time("start"):
            abandon_after_fork(self)
            make_room(self._parts.options.max_clients)
        self._tasks.start(failed=self._fail)
        self._parts.follower.wait(self._patience)

    def _fail(self) -> None:
        if self.closed.is_set():
            return
        # Open streams would stay silent without an error. Their clients have to try
        # another worker, and health has to report the fault of this one.
        self.broken = True
        self.drain()

    def drain(self) -> None:
        """Say farewell to every client and admit no new ones; publishing goes on.

        Returns when all streams have ended, or were cut off because their client did
        not take the farewell in time.
        """
        self._lifecycle.drain()
        with contextlib.suppress(BrokerUnavailable):
            self.members.leave()

    def _drain_at_exit(self) -> None:
        # A forked child has a copy of this exit function, and of the sockets.
        if self._home is not None and not self._home.left:
            self.drain()

    @property
    def inherited(self) -> bool:
        """Whether connections belong to a parent process, and so perhaps the hub.

        A fork under gevent copies the greenlets of requests too. In the child they may
        come here with a hub of the child's own, and with the parent's connections.
        """
        return self.closed.inherited or self._in_child

    def abandon(self) -> None:
        """Let go of the parent's hub in a forked child. The child makes its own."""
        self._parts.writer.abandon()
        self._parts.notices.abandon()

    def close(self) -> None:
        """End everything at once. For tests and scripts; a worker drains instead."""
        self.closed.set()
        self._control.close()
        self._parts.wake()
        self._lifecycle.close_all()
        self._parts.writer.stop()
        self._parts.notices.stop()
        self.broker.close()
        atexit.unregister(self._drain_at_exit)
        self._parts.accept_balance.close()

    # Admission

    def attend(self, worker: ServerWorker | None) -> None:
        """Balance clients between this worker and the others from now on."""
        self._in_child = worker is not None and worker.is_parent
        self._parts.accept_balance.attend(worker)

    def full(self) -> str | None:
        """Return why no client is admitted for now, None if there is room."""
        return self._parts.admission.full()

    def check_admission(self, identity: Identity, ip: str | None) -> None:
        """Raise ClientRefused if this user can open no further stream for now."""
        self._parts.admission.check(identity, ip)

    def refusal(self, refusal: ClientRefused, *, reason: str) -> ClientRefused:
        """Count a refusal and return it. Each kind is logged at most once a minute."""
        return self._parts.admission.refusal(refusal, reason=reason)

    @property
    def coding_names(self) -> Sequence[str]:
        """The names of the content codings offered besides identity, best first."""
        return self._parts.codings.names

    def coding(self, name: str | None) -> Coding:
        """Return the content coding of a name; None stands for identity."""
        return self._parts.codings.named(name)

    # Streams

    def connect(
        self,
        client: Client,
        *,
        last_event_id: str | None,
        warnings: Sequence[str] = (),
    ) -> bytes:
        """Open a stream and return its first bytes, with warnings for its developer.

        Raises ClientRefused and BrokerUnavailable. Then nothing is left behind.
        """
        self.start()
        return self._lifecycle.connect(
            client, last_event_id=last_event_id, warnings=warnings
        )

    def take(self, client: Client) -> bytes | None:
        """Return the next bytes for a client, b"" if none are due, None at its end."""
        return self._parts.catchup.take(client)

    def farewell(self, client: Client) -> bytes:
        """Return the last bytes of a stream, with a retry after a drain or eviction."""
        return self._lifecycle.farewell(client)

    def end(self, client: Client, reason: CloseReason) -> None:
        """Mark a stream as ended. The first reason counts."""
        self._lifecycle.close(client, reason)

    def leave(self, client: Client, reason: CloseReason) -> None:
        """Let go of a client. The reason counts if the client was not closed before."""
        self._lifecycle.leave(client, reason)

    def clients(self) -> list[Client]:
        """Return all clients, the oldest first."""
        return self._parts.registry.clients()

    # The sockets of streams

    def watch_peer(self, connection: socket.socket, client: Client) -> None:
        """End a stream once its peer leaves the connection, or takes no bytes."""
        self._parts.writer.watch(connection, client)
        sockets.limit_unacknowledged(connection, self._kernel_timeout)

    @property
    def _kernel_timeout(self) -> float:
        return self._parts.options.connection_timeout + _HEARTBEAT_FIRST_SECONDS

    def forget_peer(self, connection: socket.socket) -> None:
        """Stop watching a connection, before the server closes it."""
        self._parts.writer.forget(connection.fileno())

    def sink(self, connection: ClientSocket) -> SocketSink:
        """Return a sink for a client's own socket, which adopt() takes over."""
        return self._parts.writer.sink(connection)

    def adopt(
        self, client: Client, sink: SocketSink, *, head: bytes, greeting: bytes
    ) -> None:
        """Let the writer take over the socket of a connected client."""
        if self._home is None:
            # The server does not know these streams, so it does not wait for them when
            # it exits.
            self._home = Home()
            atexit.register(self._drain_at_exit)
        sockets.limit_unacknowledged(sink.socket, self._kernel_timeout)
        self._parts.writer.adopt(client, sink, head=head, greeting=greeting)

    def give_back(self, client: Client, sink: SocketSink) -> None:
        """Leave a connection to its server after all, and let go of the client."""
        self._parts.writer.forget(sink.descriptor)
        sink.abandon()
        self.leave(client, CloseReason.ERROR)

    # Statistics

    def stats(self, *, clients: bool = False) -> HubStats:
        """Return the hub's statistics; ``clients`` adds an entry for each stream."""
        return stats_of(
            self._parts,
            outbox=self.outbox(),
            clients=tuple(self.client_stats()) if clients else (),
        )

    def client_stats(self) -> Iterator[ClientStats]:
        """Yield the statistics of each stream, the oldest first."""
        return client_stats_of(self._parts)

    def lives(self, user: str) -> tuple[float, Iterator[StreamLife]]:
        """Return since when all streams are known, and those of a user, open first."""
        return lives_of(self._parts, user)
