"""The writer: writes all bytes to the client sockets that the hub has taken over.

One greenlet or thread fans out. Between fan-outs it writes everything else that is due:
pings, events for lagging clients, farewells. Does not know how a socket is taken over.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from ...runtime import greenlets
from ...runtime.coded_log import CodedLog
from ...runtime.peer_watch import Change, PeerWatch
from ...runtime.rare_log import RareLog
from ...runtime.survival import surviving
from ..clients.client import Client, Connection
from ..clients.close_reason import IMMEDIATE, CloseReason
from ..clients.registry import ClientRegistry
from ..tally import Tally
from .catchup import Catchup
from .dispatcher import Dispatcher
from .run import Run, Writes
from .socket_sink import (
    MAX_WRITE_BYTES,
    WIDE_WRITE_BYTES,
    ClientSocket,
    SocketSink,
)

# The time for writing to clients before the rest of the process gets its turn. A
# request needs several turns, and its answer should not be noticeably later.
_SLICE_SECONDS = 0.003

# Writes between two looks at the clock. A write takes 5 microseconds, so a look after
# each one would cost too much.
_WRITES_AT_ONCE = 64


class EndsStreams(Protocol):
    """The operations that a writer needs in order to end a stream."""

    def close(self, client: Client, reason: CloseReason) -> None:
        """Mark a stream as ended. The first reason counts."""

    def farewell(self, client: Client) -> bytes:
        """Return the last bytes of a stream."""

    def dismiss(self, client: Client, reason: CloseReason) -> None:
        """Let go of a client, without waiting for the app's receivers."""


class Writer:
    """Write to all sockets of one process, in the same order for every client."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        catchup: Catchup,
        registry: ClientRegistry,
        *,
        ends: EndsStreams,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self._dispatcher = dispatcher
        self._catchup = catchup
        self._registry = registry
        self._ends = ends
        self._tally = tally
        self._clock = clock
        self._time_of_day = time_of_day
        self._rare_log = RareLog(CodedLog(__name__), clock=clock)
        self._peers: PeerWatch[Client] = PeerWatch(self._peers_changed)
        self._changed = False
        self._due: deque[SocketSink] = deque()
        self._behind: deque[SocketSink] = deque()
        self._behind_work = threading.Event()
        # Guards the hand-over of a sink from read_behind() back to run().
        self._handover = threading.Lock()
        self._slice_ends = 0.0
        self._stopped = False
        # Each look at the method makes a new object, which a sink would keep.
        self._look_at = self.look_at

    def run(self) -> None:
        """Fan out new records, and write what else is due, until stop()."""
        work = self._dispatcher.work
        try:
            while not self._stopped:
                work.wait()
                work.clear()
                self._slice_ends = time.monotonic() + _SLICE_SECONDS
                while self.step() and not self._stopped:
                    self._give_way()
            while self._due:
                # Sinks that were cut off still have to be closed.
                self._serve_due()
        finally:
            # The event loop would report unread changes again and again, in a busy
            # loop.
            self._peers.close()

    def stop(self) -> None:
        """End run() and read_behind()."""
        self._stopped = True
        self._dispatcher.stop()
        self._peers.close()
        self._behind_work.set()

    def step(self) -> bool:
        """Do the next piece of work; tell whether there was any."""
        if self._changed:
            self._changed = False
            self.look_after_peers()
        run = self._dispatcher.fan_out()
        if run is not None and run.direct:
            self.write_run(run)
        if run is not None and run.published_at is not None:
            took = self._time_of_day() - run.published_at
            self._tally.delivery_latency.observe(took)
        return self._serve_due() or run is not None

    def _give_way(self) -> None:
        """Let the rest of the process run, if this slice of time is used up."""
        if time.monotonic() >= self._slice_ends:
            greenlets.breathe()
            self._slice_ends = time.monotonic() + _SLICE_SECONDS

    def abandon(self) -> None:
        """Forget all sockets in a forked child, without sending anything.

        The sockets belong to the parent. If the child wrote to them too, clients would
        receive everything twice.
        """
        self._stopped = True
        self._due.clear()
        self._behind.clear()
        for client in self._peers.abandon():
            client.sink.abandon()

    # The calls of other parts

    @property
    def is_told_of_peers(self) -> bool:
        """Whether the event loop reports changes of peers, so no caller has to poll."""
        return self._peers.watched

    def watch(self, connection: socket.socket, client: Client) -> None:
        """Watch the peer of a connection that the server writes to."""
        self._peers.add(connection.fileno(), client)

    def forget(self, descriptor: int) -> None:
        """Stop watching the peer of a connection, before the server closes it."""
        self._peers.remove(descriptor)

    def sink(self, connection: ClientSocket) -> SocketSink:
        """Return a sink for a client's own socket, which adopt() takes over."""
        return SocketSink(connection, self._look_at)

    def adopt(
        self, client: Client, sink: SocketSink, *, head: bytes, greeting: bytes
    ) -> None:
        """Write to a sink's socket from now on, the head of the response first."""
        sink.client = client
        sink.begin(head, greeting)
        self._peers.add(sink.descriptor, client, reads=True)
        if not (self._finish(sink) and self._dispatcher.keep_up(client, sink.socket)):
            self.look_at(sink)

    def look_at(self, sink: SocketSink) -> None:
        """Queue a sink, to be served between two fan-outs."""
        if not sink.due:
            sink.due = True
            self._due.append(sink)
            self._dispatcher.work.set()

    def _peers_changed(self) -> None:
        self._changed = True
        self._dispatcher.work.set()

    def look_after_peers(self) -> None:
        """Let go of clients that have left, without waiting for a write to fail."""
        for client, change in self._peers.changes():
            sink = client.sink
            if isinstance(sink, SocketSink):
                self._note(sink, change)
            elif Change.GONE in change:
                self._ends.close(client, CloseReason.CLIENT_GONE)
                # The server may have dropped the client without telling the hub.
                self._ends.dismiss(client, CloseReason.CLIENT_GONE)
            else:
                self._dispatcher.probe(client)

    def _note(self, sink: SocketSink, change: Change) -> None:
        """Note a peer's change. The sink is served once all changes are noted."""
        if Change.GONE in change:
            sink.gone = True
        elif Change.SENT in change:
            sink.discard()
        if Change.HALF_CLOSED in change and sink.client is not None:
            self._dispatcher.probe(sink.client)
        self.look_at(sink)

    # One fan-out

    def write_run(self, run: Run) -> None:
        """Write the same bytes to every client that keeps up."""
        writes = Writes(run.blocks)
        count = len(run.direct)
        failed = 0
        for start in range(0, count, _WRITES_AT_ONCE):
            for connection in run.direct[start : start + _WRITES_AT_ONCE]:
                first, size = writes[connection.form]
                if size > MAX_WRITE_BYTES:
                    connection.widen()
                # The closed socket of a client that has left raises OSError.
                try:
                    sent = connection.send(first)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    sent = -1
                if sent != size:
                    failed += sent <= 0
                    self._note_partial(run, connection, sent, writes)
            self._give_way()
        taken = count - failed
        self._tally.written(events=taken * run.events, bytes=taken * run.bytes)

    def _note_partial(
        self, run: Run, connection: Connection, sent: int, writes: Writes
    ) -> None:
        """Handle a write that took only ``sent`` bytes of a run; -1 is an error."""
        client = self._peers.owner(connection)
        if client is None:
            return
        sink = cast("SocketSink", client.sink)
        if sent > 0:
            sink.go_on(writes.whole[connection.form], sent=sent)
            if sent == WIDE_WRITE_BYTES and sink.flush():
                # The kernel took all that it was offered, and then the rest.
                return
        if client.connection is connection:
            self._dispatcher.fall_behind(client, run, sent=max(sent, 0))
        elif sent <= 0:
            # The client was reset or closed during the fan-out, and so has no
            # connection any more. The run was counted for it when the fan-out began.
            self._dispatcher.uncount(client, run)
        sink.gone |= sent < 0
        if sink.gone:
            self.look_at(sink)
        else:
            self._await_room(sink)

    # One client

    def _serve_due(self) -> bool:
        """Serve the queued sinks for one slice of time; tell whether there were any."""
        # They get a slice of their own, however much is fanned out. Without it, lagging
        # clients would lag for ever.
        self._slice_ends = time.monotonic() + _SLICE_SECONDS
        served = False
        while self._due:
            sink = self._due.popleft()
            sink.due = False
            try:
                self._serve(sink)
            except Exception:  # noqa: BLE001 - _fail() logs it
                self._fail(sink)
            served = True
            if time.monotonic() >= self._slice_ends:
                break
        return served

    def _serve(self, sink: SocketSink) -> None:
        """Write the next bytes for one client, and queue it again if there are more."""
        client = sink.client
        if client is None:
            return
        if sink.gone or sink.cutting or client.close_reason in IMMEDIATE:
            self._close(sink, client, CloseReason.CLIENT_GONE)
        elif sink.intrusive:
            self._close(sink, client, CloseReason.PROTOCOL)
        elif (sink.reading and self._leaves_to_reader(sink)) or not self._finish(sink):
            return
        elif sink.ending:
            self._close(sink, client, CloseReason.CLIENT_GONE)
        elif self._catchup.waits_for_broker(client):
            self._read_beside(sink)
        else:
            self._write_next(sink, client)

    def _write_next(self, sink: SocketSink, client: Client) -> None:
        chunk = self._catchup.take(client)
        if chunk is None:
            sink.ending = True
            chunk = self._ends.farewell(client)
        # Set the bytes at once, because those of the next fan-out come after them.
        sink.put(chunk, last=sink.ending)
        if not self._finish(sink):
            return
        if chunk or sink.ending:
            self.look_at(sink)
        elif self._dispatcher.keep_up(client, sink.socket) and sink.waits_for_room:
            sink.waits_for_room = False
            self._peers.await_room(sink.descriptor, waiting=False)

    def _finish(self, sink: SocketSink) -> bool:
        """Write unfinished bytes; tell whether the client can take new ones."""
        left = sink.left
        if sink.flush():
            sink.writing_since = None
            return True
        if sink.left < left and sink.client is not None:
            sink.client.taken_at = self._clock()
        if sink.gone:
            self.look_at(sink)
        else:
            self._await_room(sink)
        return False

    def _await_room(self, sink: SocketSink) -> None:
        if sink.client is not None:
            self._registry.demote(sink.client)
        if sink.writing_since is None:
            sink.writing_since = self._clock()
        if not sink.waits_for_room:
            sink.waits_for_room = True
            self._peers.await_room(sink.descriptor, waiting=True)

    def _fail(self, sink: SocketSink) -> None:
        """End the stream of one client after an error; other streams go on."""
        # The error may come from a log filter of the app, which fails again here.
        with surviving():
            self._rare_log.exception("SSE-1302", "cannot write to %r", sink.client)
        if sink.client is not None:
            self._ends.close(sink.client, CloseReason.ERROR)
            sink.cut()

    def _close(self, sink: SocketSink, client: Client, reason: CloseReason) -> None:
        # With unread input, the kernel would end the connection by a TCP reset, and the
        # client could lose the last bytes.
        sink.discard()
        self._peers.remove(sink.descriptor)
        sink.close()
        self._ends.dismiss(client, reason)

    # Clients so far behind that the broker has to be read

    def _read_beside(self, sink: SocketSink) -> None:
        """Have read_behind() read the broker for a client, while others are served."""
        sink.reading = True
        self._behind.append(sink)
        self._behind_work.set()

    def _leaves_to_reader(self, sink: SocketSink) -> bool:
        """Tell whether the broker is read for a sink, which is then queued again."""
        with self._handover:
            sink.again = sink.reading
            return sink.again

    def read_behind(self) -> None:
        """Read the broker for the clients far behind, until stop()."""
        while not self._stopped:
            self._behind_work.wait()
            self._behind_work.clear()
            while not self._stopped and self.read_waiting():
                greenlets.breathe()

    def read_waiting(self) -> bool:
        """Read the broker for the next client that waits; tell whether there was one.

        May wait for the broker.
        """
        if not self._behind:
            return False
        self._read_for(self._behind.popleft())
        return True

    def _read_for(self, sink: SocketSink) -> None:
        client = sink.client
        chunk: bytes | None = b""
        if client is not None:
            try:
                chunk = self._catchup.take(client)
            except Exception:  # noqa: BLE001 - _fail() logs it
                self._fail(sink)
        with self._handover:
            # The bytes come first. Once nothing is read for the sink, the writer may
            # serve it, and would put the next bytes in their place.
            if sink.client is not None:
                sink.put(chunk or b"")
            sink.reading = False
            again, sink.again = sink.again, False
        if client is None or sink.client is None:
            return
        # While the broker is away, nothing comes. Then the sink is not queued here: the
        # heartbeat's sweep wakes it later.
        if chunk != b"" or again or not self._catchup.waits_for_broker(client):
            self.look_at(sink)
