"""Compressed streams over real servers, read by real decoders."""

import json
import re
import signal
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kit.reader import wait_until
from tests.live.server import SERVERS, Connection, Server

pytestmark = pytest.mark.live

CODINGS = ["gzip", "zstd"]
ROWS = [{"order": number, "status": "open"} for number in range(100)]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param) as server:
        yield server


@pytest.mark.parametrize("coding", CODINGS)
def test_each_event_is_readable_before_the_next_is_published(
    server: Server, coding: str
) -> None:
    """Small events, large events, and events that take several writes."""
    with server.stream(Accept_Encoding=coding) as stream:
        stream.next("connected")
        for data in ("small", ROWS, list(range(100_000)), "", ROWS):
            server.publish(data)
            text = stream.next("message").data
            assert (text if isinstance(data, str) else json.loads(text)) == data


@pytest.mark.parametrize("coding", CODINGS)
def test_clients_of_any_coding_get_the_same_events(server: Server, coding: str) -> None:
    """The order is the same too, for clients that stay and for clients that resume."""
    with (
        server.stream() as plain,
        server.stream(Accept_Encoding=coding) as coded,
    ):
        last = coded.next("connected").id
        for number in range(20):
            server.publish([number, *ROWS])
        expected = plain.data(20)
        assert coded.data(20) == expected
    with server.stream(Accept_Encoding=coding, Last_Event_ID=last or "") as again:
        assert again.data(20) == expected


def test_an_answer_is_compressed_as_it_comes(server: Server) -> None:
    """The first event arrives before the second exists; the checksum is right."""
    connection = Connection(server.port, "/answers/waiting", Accept_Encoding="gzip")
    assert connection.response.headers["Content-Encoding"] == "gzip"
    decode = zlib.decompressobj(16 + zlib.MAX_WBITS)
    text = b""
    while b"data: first\n\n" not in text:
        text += decode.decompress(next(connection))
    server.request("POST", "/answers/release")
    text += b"".join(map(decode.decompress, connection))
    connection.close()
    assert b"event: done\n" in text
    assert decode.eof


def test_a_compressed_answer_ends_with_its_client(server: Server) -> None:
    """No error is logged; otherwise every closed tab would log one."""
    closed = server.json("/answers/")["closed"]
    for kind in ("large", "waiting"):
        with server.stream(f"/answers/{kind}", user=None, Accept_Encoding="gzip") as it:
            it.next("message")

    def are_closed() -> bool:
        # A thread that waits for its upstream ends when the upstream returns.
        server.request("POST", "/answers/release")
        return bool(server.json("/answers/")["closed"] == closed + 2)

    wait_until(are_closed)
    assert "Traceback" not in server.log


def test_a_worker_that_goes_says_farewell() -> None:
    """The last retry is in the coding of each stream."""
    with Server() as server, ExitStack() as opened:
        streams = [
            opened.enter_context(server.stream(Accept_Encoding=coding))
            for coding in CODINGS
        ]
        for stream in streams:
            stream.next("connected")
        server.publish(ROWS)
        for stream in streams:
            assert json.loads(stream.next("message").data) == ROWS
        server.signal(signal.SIGTERM)
        for stream in streams:
            stream.wait_for_end()
            assert re.search(rb"\n\nretry: \d+\n$", stream.raw)
