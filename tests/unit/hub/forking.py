"""A program under gevent that forks while streams are written, for test_forks."""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import os
import socket
import sys

import gevent

from flask_sse_hub import Event
from flask_sse_hub.brokers import MemoryBroker
from flask_sse_hub.events.address import BROADCAST
from flask_sse_hub.events.record import Record
from flask_sse_hub.hub.clients.client import Client, Identity
from flask_sse_hub.hub.clients.close_reason import CloseReason
from flask_sse_hub.hub.hub import Hub
from flask_sse_hub.hub.options import HubOptions
from flask_sse_hub.hub.parts import Parts
from flask_sse_hub.streams.generator import EventStream
from tests.kit.hand import KEEP_ALL

# Many times more turns of the event loop than the child's greenlets would need to write
# all events again.
_TURNS = 500


def serve(stream: EventStream, connection: socket.socket) -> None:
    """Write a stream as a server does."""
    try:
        for chunk in stream:
            connection.sendall(chunk)
    except OSError:
        return
    finally:
        stream.close()


def main() -> None:
    """Fork as soon as a stream is open; print the data that its client receives."""
    hub = Hub(Parts(MemoryBroker(KEEP_ALL), HubOptions()))
    ours, theirs = socket.socketpair()
    client = Client("c", identity=Identity())
    stream = EventStream(hub, client, last_event_id=None, connection=ours)
    server = gevent.spawn(serve, stream, ours)
    received = theirs.recv(1000)
    for number in range(10):
        hub.publish(Record((BROADCAST,), Event(str(number))))
    if os.fork() == 0:
        for _ in range(_TURNS):
            gevent.sleep(0.0001)
        os._exit(0)
    os.wait()
    # os.wait() held up this process: its own greenlets write only now.
    while client.events < 10:
        gevent.sleep(0.001)
    hub.end(client, CloseReason.AGE)
    server.join(10.0)
    ours.close()
    while chunk := theirs.recv(10_000):
        received += chunk
    data = [line for line in received.split(b"\n") if line.startswith(b"data: ")]
    sys.stdout.write(" ".join(line[6:].decode() for line in data if line[6:].isdigit()))
    sys.stdout.flush()
    os._exit(0)


main()
