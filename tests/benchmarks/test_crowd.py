"""The clients of the benchmarks count what has arrived, and nothing else."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.load.crowd import Connected, Crowd, CrowdError, stamped
from tests.ports import HOST, free_port
from tests.reader import DEADLINE
from tests.wire.real_parts import absent

RAW = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
CHUNKED = RAW[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"

#: How a body is put into chunks: all in one, after each line, and after each third
#: byte, which cuts every mark in pieces.
CHUNKS: dict[str, Callable[[bytes], list[bytes]]] = {
    "one chunk": lambda body: [body],
    "a chunk for each line": lambda body: body.splitlines(keepends=True),
    "chunks of three bytes": lambda body: [
        body[at : at + 3] for at in range(0, len(body), 3)
    ],
}


class Stage:
    """A server of one thread: it says what the test has it say."""

    def __init__(self, crowd: Crowd, listener: socket.socket) -> None:
        self.crowd = crowd
        self.requests: list[bytes] = []
        self.clients: list[socket.socket] = []
        self._listener = listener
        self._sent = 0

    def open(
        self, count: int = 1, *, head: bytes = RAW, **options: object
    ) -> Connected:
        """Connect so many clients and send each a head."""
        self._listener.settimeout(DEADLINE)
        where = self._listener.getsockname()
        to = {"unix": where} if isinstance(where, str) else {"port": where[1]}
        with ThreadPoolExecutor(1) as pool:
            # One at a time, so that the order is known.
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
        """Send a client bytes, and wait until it has taken them."""
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
    """Chunks and reads may end anywhere, within a mark or a chunk's own size."""
    stage.open(head=CHUNKED)
    wire = b"".join(map(chunk, CHUNKS[cut](event() + b": x\n\n" + event())))
    for at in range(0, len(wire), step):
        stage.say(wire[at : at + step])
    assert stage.crowd.report().events == 2


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_events_of_a_body_that_ends_with_the_connection_are_counted(
    stage: Stage, step: int
) -> None:
    """As the floor and a socket that was taken over send it."""
    stage.open()
    wire = event() + event()
    for at in range(0, len(wire), step):
        stage.say(wire[at : at + step])
    assert stage.crowd.report().events == 2


def test_a_head_may_come_in_pieces_and_with_the_first_events(crowd: Crowd) -> None:
    """Each server has its own way to send them."""
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
def test_what_has_no_mark_is_not_counted(stage: Stage, text: bytes) -> None:
    """Greetings, pings, comments, and data that only looks a little like one."""
    stage.open()
    stage.say(text + event())
    assert stage.crowd.report().events == 1


@pytest.mark.parametrize(
    "form",
    [b"data:%s\n\n", b'data: "%s"\n\n', b"event: x\r\ndata: %s\r\nid: 2\r\n\r\n"],
)
def test_all_ways_to_write_an_event_are_known(stage: Stage, form: bytes) -> None:
    """Some servers quote it as JSON, and some end lines with two bytes."""
    stage.open()
    stage.say(form % stamped(100))
    assert stage.crowd.report().events == 1


def test_an_event_counts_when_it_is_whole(stage: Stage) -> None:
    """A browser dispatches it at the empty line, and so is it timed."""
    stage.open()
    whole = event()
    stage.say(whole[:-1])
    assert stage.crowd.report().events == 0
    stage.say(whole[-1:])
    assert stage.crowd.report().events == 1


def test_latency_is_from_the_stamp_to_the_last_client(stage: Stage) -> None:
    """By the same clock as this process has; no more than the test itself has seen."""
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


def test_what_was_published_before_a_reset_never_counts(stage: Stage) -> None:
    """What a round before still had on its way would be a later round's."""
    early = event()
    stage.open()
    stage.say(early)
    assert stage.crowd.report().events == 0
    stage.say(event())
    assert stage.crowd.report().events == 1


def test_waiting_is_for_each_client_of_a_group(stage: Stage) -> None:
    """Two events for one client are not one for each of two."""
    stage.open(4, groups=2)
    stage.say(event() + event(), to=0)
    with pytest.raises(CrowdError, match="1 of 4 clients have not got 1 events"):
        stage.crowd.wait(1, group=0, within=0.05)
    stage.say(event(), to=2)
    stage.crowd.wait(1, group=0, within=DEADLINE)
    with pytest.raises(CrowdError, match="2 of 4 clients have not"):
        stage.crowd.wait(1, within=0.05)


def test_each_client_asks_for_what_it_was_told_to(stage: Stage) -> None:
    """Its group in the path, its number in a header, and where it wants to go on."""
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


def test_headers_are_only_of_the_clients_they_are_given_for(stage: Stage) -> None:
    """Those who connect next are somebody else."""
    stage.open(headers=("X-User: alice",))
    stage.open()
    assert b"alice" in stage.requests[0]
    assert b"alice" not in stage.requests[1]


@pytest.mark.parametrize("head", [RAW, CHUNKED])
def test_a_stream_that_ends_is_an_error(stage: Stage, head: bytes) -> None:
    """A server that drops a client, or dies, has no figure from then on."""
    stage.open(2, head=head)
    stage.clients[0].close()
    with pytest.raises(CrowdError, match="1 streams have ended"):
        stage.crowd.wait(1, within=DEADLINE)
    with pytest.raises(CrowdError, match="1 streams have ended"):
        stage.crowd.report()


def test_the_last_chunk_is_an_end(stage: Stage) -> None:
    """The server may keep the connection for another request."""
    stage.open(head=CHUNKED)
    stage.clients[0].sendall(b"0\r\n\r\n")
    with pytest.raises(CrowdError, match="the last chunk has come"):
        stage.crowd.wait(1, within=DEADLINE)


def test_a_chunk_that_is_longer_than_it_says_is_an_error(stage: Stage) -> None:
    """Whatever would be counted then, nobody sent it."""
    stage.open(head=CHUNKED)
    stage.clients[0].sendall(b"3\r\nabcd")
    with pytest.raises(CrowdError, match="longer than it said"):
        stage.crowd.wait(1, within=DEADLINE)


def test_an_answer_that_is_no_stream_is_an_error(stage: Stage) -> None:
    """With the line that says why."""
    with pytest.raises(CrowdError, match="503 Service Unavailable"):
        stage.open(head=b"HTTP/1.1 503 Service Unavailable\r\n\r\n")


def test_a_server_that_is_not_there_is_an_error(crowd: Crowd) -> None:
    """At once, not at a deadline."""
    with pytest.raises(CrowdError, match="refused"):
        crowd.connect(1, port=free_port())


def test_a_server_that_says_nothing_is_an_error_at_the_deadline(crowd: Crowd) -> None:
    """Nothing waits for ever."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CrowdError, match="only 0 of 3 streams"):
            crowd.connect(3, port=port, within=0.2)


def test_a_silent_server_is_connected_to_by_asking(crowd: Crowd) -> None:
    """Flask-SSE sends no head before the first event."""
    with socket.create_server((HOST, 0)) as listener:
        crowd.connect(1, port=listener.getsockname()[1], silent=True, within=DEADLINE)
        client, _ = listener.accept()
        with client:
            client.sendall(CHUNKED + chunk(event()))
            crowd.wait(1, within=DEADLINE)


def test_closing_resets_the_connections(stage: Stage) -> None:
    """A port that waits for minutes would be missing in the next round."""
    stage.open(2)
    stage.crowd.close()
    for client in stage.clients:
        client.settimeout(DEADLINE)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    stage.open()
    assert stage.crowd.report().clients == 1


def test_streams_may_be_on_a_unix_socket(crowd: Crowd, tmp_path: Path) -> None:
    """As behind a proxy on the same machine."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    stage = Stage(crowd, listener)
    stage.open()
    stage.say(event())
    assert crowd.report().events == 1
    stage.close()


def test_clients_whose_process_has_ended_are_an_error(crowd: Crowd) -> None:
    """Rather than an answer that never comes."""
    with crowd:
        pass
    with pytest.raises(CrowdError, match="has ended"):
        crowd.report()
