"""The clients of the benchmarks count exactly the events that have arrived."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.load.crowd import Connected, Crowd, CrowdError, stamped
from tests.kit.ports import HOST, free_port
from tests.kit.reader import DEADLINE
from tests.wire.real_parts import absent

RAW = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
CHUNKED = RAW[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"

#: How a body is divided into chunks: in one piece, after each line, and after every
#: third byte, which cuts every stamp into pieces.
CHUNKS: dict[str, Callable[[bytes], list[bytes]]] = {
    "one chunk": lambda body: [body],
    "a chunk for each line": lambda body: body.splitlines(keepends=True),
    "chunks of three bytes": lambda body: [
        body[at : at + 3] for at in range(0, len(body), 3)
    ],
}


class Stage:
    """A server whose answers the test sends by hand."""

    def __init__(self, crowd: Crowd, listener: socket.socket) -> None:
        self.crowd = crowd
        self.requests: list[bytes] = []
        self.clients: list[socket.socket] = []
        self._listener = listener
        self._sent = 0

    def open(
        self, count: int = 1, *, head: bytes = RAW, **options: object
    ) -> Connected:
        """Connect ``count`` clients and send a head to each."""
        self._listener.settimeout(DEADLINE)
        where = self._listener.getsockname()
        to = {"unix": where} if isinstance(where, str) else {"port": where[1]}
        with ThreadPoolExecutor(1) as pool:
            # One client at a time, so that their order is known.
            opened = pool.submit(
                self.crowd.connect,
                count,
                **{**to, "at_once": 1, "within": DEADLINE, **options},
            )
            for _ in range(count):
                client, _ = self._listener.accept()
                self.clients.append(client)
                self.requests.append(client.recv(65536))
                client.sendall(head)
            found = opened.result()
        self.crowd.reset()
        return found

    def say(self, text: bytes, *, to: int = 0) -> None:
        """Send bytes to a client, and wait until it has read them."""
        self.clients[to].sendall(text)
        self._sent += len(text)
        deadline = time.monotonic() + DEADLINE
        while self.crowd.report().bytes < self._sent:
            assert time.monotonic() < deadline

    def close(self) -> None:
        for client in (*self.clients, self._listener):
            client.close()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    if shutil.which("cc") is None:
        absent("cc", remedy="apt-get install gcc libc6-dev")
    with Crowd() as found:
        yield found


@pytest.fixture
def stage(crowd: Crowd) -> Iterator[Stage]:
    found = Stage(crowd, socket.create_server((HOST, 0)))
    yield found
    found.close()


def event(data: bytes | None = None) -> bytes:
    return b"id: 1-7\ndata: " + (data or stamped(100)) + b"\n\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


@pytest.mark.parametrize("cut", CHUNKS)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_events_are_counted_however_they_are_framed(
    stage: Stage, cut: str, step: int
) -> None:
    """Chunks and reads may end anywhere, even within a stamp or a chunk's size."""
    stage.open(head=CHUNKED)
    wire = b"".join(map(chunk, CHUNKS[cut](event() + b": x\n\n" + event())))
    for at in range(0, len(wire), step):
        stage.say(wire[at : at + step])
    assert stage.crowd.report().events == 2


def frame(text: bytes, *, opcode: int = 1) -> bytes:
    """Return a frame of a server's WebSocket. Source: RFC 6455, section 5.2."""
    size = len(text)
    if size < 126:
        length = bytes([size])
    elif size < 65_536:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + text


UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
CONNECTED = frame(b'0{"sid":"a"}') + frame(b'40{"sid":"b"}')
SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"


@pytest.mark.parametrize("size", [30, 200, 70_000])
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_events_of_socket_io_are_counted_by_frame(
    stage: Stage, step: int, size: int
) -> None:
    """A frame has its size in one, two or eight bytes. Reads may end anywhere."""
    stage.open(path=SOCKET_IO, head=UPGRADED + CONNECTED)
    (request,) = stage.requests
    assert b"\r\nUpgrade: websocket\r\n" in request
    told = frame(b'42["message","' + stamped(size) + b'"]')
    wire = told + frame(b'42["other",1]') + told
    # Many small reads of a large frame show no more than those of a small one.
    for at in range(0, len(wire), step if size < 1000 else 10_001):
        stage.say(wire[at : at + step] if size < 1000 else wire[at : at + 10_001])
    assert stage.crowd.report().events == 2


def test_clients_of_socket_io_connect_and_answer_pings(stage: Stage) -> None:
    """A server would drop them otherwise, and send them no event before."""
    stage.open(path=SOCKET_IO, head=UPGRADED + CONNECTED)
    (client,) = stage.clients
    client.settimeout(DEADLINE)
    assert client.recv(100) == b"\x81\x82\0\0\0\0" + b"40"
    stage.say(frame(b"2"))
    assert client.recv(100) == b"\x81\x81\0\0\0\0" + b"3"
    client.sendall(frame(b"", opcode=8))
    with pytest.raises(CrowdError, match="has closed the WebSocket"):
        stage.crowd.wait(1, within=DEADLINE)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_events_of_a_body_that_ends_with_the_connection_are_counted(
    stage: Stage, step: int
) -> None:
    """The floor and sockets that were taken over send such bodies."""
    stage.open()
    wire = event() + event()
    for at in range(0, len(wire), step):
        stage.say(wire[at : at + step])
    assert stage.crowd.report().events == 2


def test_a_head_may_come_in_pieces_and_with_the_first_events(crowd: Crowd) -> None:
    """Servers divide the head and the first events differently."""
    with socket.create_server((HOST, 0)) as listener, ThreadPoolExecutor(1) as pool:
        opened = pool.submit(crowd.connect, 1, port=listener.getsockname()[1])
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            for byte in CHUNKED[:-1]:
                client.sendall(bytes([byte]))
            client.sendall(CHUNKED[-1:] + chunk(event()))
            assert opened.result().first_byte.count == 1
            crowd.wait(1, within=DEADLINE)


@pytest.mark.parametrize(
    "text",
    [
        b'retry: 2000\nid: 1-7\nevent: connected\ndata: {"client_id": "x@y"}\n\n',
        b'event: ping\ndata: {"ts": 1700000000000000000}\n\n',
        b": @\n\n",
        b"data: @123@\n\n",
        b"data: " + b"@" + b"1" * 20 + b"@" + b"\n\n",
        b"\n\n\n\n",
    ],
)
def test_text_without_a_stamp_is_not_counted(stage: Stage, text: bytes) -> None:
    """Greetings, pings, comments and data that resembles a stamp do not count."""
    stage.open()
    stage.say(text + event())
    assert stage.crowd.report().events == 1


@pytest.mark.parametrize(
    "form",
    [b"data:%s\n\n", b'data: "%s"\n\n', b"event: x\r\ndata: %s\r\nid: 2\r\n\r\n"],
)
def test_all_ways_to_write_an_event_are_known(stage: Stage, form: bytes) -> None:
    """Some servers quote the data as JSON, and some end lines with two bytes."""
    stage.open()
    stage.say(form % stamped(100))
    assert stage.crowd.report().events == 1


def test_an_event_counts_when_it_is_complete(stage: Stage) -> None:
    """It is timed at its empty line, at which a browser dispatches it."""
    stage.open()
    whole = event()
    stage.say(whole[:-1])
    assert stage.crowd.report().events == 0
    stage.say(whole[-1:])
    assert stage.crowd.report().events == 1


def test_latency_is_from_the_stamp_to_the_last_client(stage: Stage) -> None:
    """The latency agrees with the times that the test measures by the same clock."""
    stage.open(2)
    mark = stamped(100)
    stamp = int(mark[1:20])
    stage.say(event(mark))
    sent = time.monotonic_ns()
    stage.say(event(mark), to=1)
    arrived = time.monotonic_ns()
    report = stage.crowd.report()
    assert report.latency.count == 2
    assert sent - stamp <= (report.latency.max + 0.001) * 1e6 <= arrived - stamp + 1000
    assert report.latency.p50 <= report.latency.max
    assert report.last == [(2, report.latency.max)]


def test_events_published_before_a_reset_never_count(stage: Stage) -> None:
    """Late events of one round would otherwise count for the next round."""
    early = event()
    stage.open()
    stage.say(early)
    assert stage.crowd.report().events == 0
    stage.say(event())
    assert stage.crowd.report().events == 1


def test_wait_waits_for_every_client_of_a_group(stage: Stage) -> None:
    """Two events for one client do not count as one event for each of two clients."""
    stage.open(4, groups=2)
    stage.say(event() + event(), to=0)
    with pytest.raises(CrowdError, match="1 of 4 clients have not got 1 events"):
        stage.crowd.wait(1, group=0, within=0.05)
    stage.say(event(), to=2)
    stage.crowd.wait(1, group=0, within=DEADLINE)
    with pytest.raises(CrowdError, match="2 of 4 clients have not"):
        stage.crowd.wait(1, within=0.05)


def test_each_client_sends_its_own_request(stage: Stage) -> None:
    """It has the group in the path, the number in a header, and the last event id."""
    stage.open(
        3,
        path="/events?channel=c%d",
        groups=2,
        headers=("X-User: user%d",),
        last_event_id="1-7",
    )
    lines = [request.split(b"\r\n") for request in stage.requests]
    assert [line[0].split()[1] for line in lines] == [
        b"/events?channel=c0",
        b"/events?channel=c1",
        b"/events?channel=c0",
    ]
    assert all(b"X-User: user%d" % n in line for n, line in enumerate(lines))
    assert all(b"Last-Event-ID: 1-7" in line for line in lines)


def test_headers_are_only_sent_by_the_clients_they_were_given_for(
    stage: Stage,
) -> None:
    """Clients that connect later may be other users."""
    stage.open(headers=("X-User: alice",))
    stage.open()
    assert b"alice" in stage.requests[0]
    assert b"alice" not in stage.requests[1]


@pytest.mark.parametrize("head", [RAW, CHUNKED])
def test_a_stream_that_ends_is_an_error(stage: Stage, head: bytes) -> None:
    """A server that drops a client or dies has no figure."""
    stage.open(2, head=head)
    stage.clients[0].close()
    with pytest.raises(CrowdError, match="1 streams have ended"):
        stage.crowd.wait(1, within=DEADLINE)
    with pytest.raises(CrowdError, match="1 streams have ended"):
        stage.crowd.report()


def test_the_last_chunk_ends_the_stream(stage: Stage) -> None:
    """The connection itself may stay open for another request."""
    stage.open(head=CHUNKED)
    stage.clients[0].sendall(b"0\r\n\r\n")
    with pytest.raises(CrowdError, match="the last chunk has come"):
        stage.crowd.wait(1, within=DEADLINE)


def test_a_chunk_that_is_longer_than_it_says_is_an_error(stage: Stage) -> None:
    """Its bytes cannot be trusted, so nothing is counted."""
    stage.open(head=CHUNKED)
    stage.clients[0].sendall(b"3\r\nabcd")
    with pytest.raises(CrowdError, match="longer than it said"):
        stage.crowd.wait(1, within=DEADLINE)


def test_an_answer_that_is_not_a_stream_is_an_error(stage: Stage) -> None:
    """The error contains the status line."""
    with pytest.raises(CrowdError, match="503 Service Unavailable"):
        stage.open(head=b"HTTP/1.1 503 Service Unavailable\r\n\r\n")


def test_a_server_that_does_not_listen_is_an_error(crowd: Crowd) -> None:
    """The error comes at once, not at the deadline."""
    with pytest.raises(CrowdError, match="refused"):
        crowd.connect(1, port=free_port())


def test_a_server_that_sends_nothing_is_an_error_at_the_deadline(crowd: Crowd) -> None:
    """No command waits for ever."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CrowdError, match="only 0 of 3 streams"):
            crowd.connect(3, port=port, within=0.2)


def test_a_silent_server_counts_as_connected_after_the_request(crowd: Crowd) -> None:
    """Flask-SSE sends no head before the first event."""
    with socket.create_server((HOST, 0)) as listener:
        crowd.connect(1, port=listener.getsockname()[1], silent=True, within=DEADLINE)
        client, _ = listener.accept()
        with client:
            client.sendall(CHUNKED + chunk(event()))
            crowd.wait(1, within=DEADLINE)


def test_closing_resets_the_connections(stage: Stage) -> None:
    """A port in TIME_WAIT would be missing in the next round."""
    stage.open(2)
    stage.crowd.close()
    for client in stage.clients:
        client.settimeout(DEADLINE)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    stage.open()
    assert stage.crowd.report().clients == 1


def test_streams_may_be_on_a_unix_socket(crowd: Crowd, tmp_path: Path) -> None:
    """A proxy on the same machine may connect like this."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    stage = Stage(crowd, listener)
    stage.open()
    stage.say(event())
    assert crowd.report().events == 1
    stage.close()


def test_a_command_after_the_end_of_the_process_is_an_error(crowd: Crowd) -> None:
    """It does not wait for an answer that cannot come."""
    with crowd:
        pass
    with pytest.raises(CrowdError, match="has ended"):
        crowd.report()
