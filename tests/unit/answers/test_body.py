"""The bodies of answers, under each protocol: ends, failures, departures."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_sse_hub import Batch, Event
from flask_sse_hub.answers import response as answer_response
from flask_sse_hub.answers.protocols import ProtocolName
from flask_sse_hub.server.places import PlaceLedger
from flask_sse_hub.server.surroundings import Places
from tests.kit.reader import DEADLINE, wait_until
from tests.kit.sse_parser import parse
from tests.unit.answers.conftest import Site, a_body, producer_of
from tests.unit.answers.test_producer import Upstream
from tests.unit.answers.test_protocols import NAMES, STRICT

A = {"type": "data-a", "data": 1}
B = {"type": "data-b", "data": 2}

each_protocol = pytest.mark.parametrize("protocol", NAMES)
each_strict = pytest.mark.parametrize("protocol", STRICT)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a connection: ours and the peer's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(DEADLINE)
    yield ours, theirs
    ours.close()
    theirs.close()


def data_of(chunks: Any) -> list[str]:
    """Return the data of all events, without the default's last event."""
    events = parse(b"".join(chunks))
    return [event.data for event in events if event.type == "message"]


def failure_of(protocol: ProtocolName | None, data: list[str]) -> dict[str, Any]:
    """Return what a strict protocol said of a failure, after the item A."""
    first, told, *end = data
    assert json.loads(first) == A
    assert end == {"openai": [], "ai-sdk": ["[DONE]"]}[str(protocol)]
    found: dict[str, Any] = json.loads(told)
    return found


@each_strict
@pytest.mark.parametrize(
    "batch",
    [
        None,
        Batch(size=10),
        Batch(size=1, merge=lambda items: items[-1]),
        Batch(size=10, merge=lambda items: items[0]),
    ],
    ids=["single", "batch", "merged singly", "merged"],
)
def test_an_end_that_the_iterable_yields_is_sent_once(
    site: Site, protocol: ProtocolName, batch: Batch | None
) -> None:
    """An iterable that passes on another server's answer yields its end too."""
    response = site.respond([A, "[DONE]"], protocol=protocol, batch=batch)
    item, end = data_of(response.response)
    assert json.loads(item) == A
    assert end == "[DONE]"


@each_protocol
def test_no_empty_bytes_are_handed_to_the_server(
    site: Site, protocol: ProtocolName | None
) -> None:
    """A server that frames chunks may write them as the end of the response."""
    for items in ([], [A], [A, "[DONE]"]):
        for batch in (None, Batch(size=10)):
            response = site.respond(items, protocol=protocol, batch=batch)
            assert all(response.response)


def test_without_a_protocol_the_items_are_everything(site: Site) -> None:
    """The end of the connection is the end of the answer."""
    response = site.respond(["a", Event("b", type="token")], protocol=None)
    greeting, *rest = response.response
    assert parse(greeting) == []
    assert b"".join(rest) == b"data: a\n\nevent: token\ndata: b\n\n"


def test_the_ai_sdk_recognises_the_stream_by_a_header(site: Site) -> None:
    """The other headers are those of each stream."""
    headers = site.respond([A], protocol="ai-sdk").headers
    assert headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert headers["X-Accel-Buffering"] == "no"
    assert "x-vercel-ai-ui-message-stream" not in site.respond([A]).headers


@each_protocol
def test_an_end_id_is_answered_204_under_each_protocol(
    site: Site, protocol: ProtocolName | None
) -> None:
    """The client has the whole answer, whatever it was told by."""
    upstream = Upstream(lambda: pytest.fail("it ran again"))
    last = {"Last-Event-ID": "end-0123456789abcdef"}
    response = site.respond(upstream, method="POST", headers=last, protocol=protocol)
    assert response.status_code == 204


@each_protocol
def test_heartbeats_are_comments(site: Site, protocol: ProtocolName | None) -> None:
    """Clients of each protocol ignore them."""
    going_on = threading.Event()
    reader = site.read(
        (going_on.wait() and A for _ in range(1)), heartbeat=0.01, protocol=protocol
    )
    wait_until(lambda: reader._arrived.qsize() > 3)
    going_on.set()
    assert json.loads(reader.data(1)[0]) == A
    reader.close()


@each_strict
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_full_worker_answers_a_strict_client_with_a_status(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    protocol: ProtocolName,
    method: str,
) -> None:
    """A stream with a delay only would be an empty answer for it."""
    places = PlaceLedger(lambda: Places(2, "threads"))
    monkeypatch.setattr(answer_response, "place_ledger", lambda: places)
    places.take(object())
    response = site.respond([], method=method, protocol=protocol)
    assert response.status_code == 503
    assert response.headers["Retry-After"]


def at_once() -> Iterator[Any]:
    raise LookupError("a secret")
    yield A


def in_the_middle() -> Iterator[Any]:
    yield A
    raise LookupError("a secret")


def refused_item() -> Iterator[Any]:
    yield A
    yield Event("a secret", type="token")


@each_strict
@pytest.mark.parametrize("failing", [in_the_middle, refused_item])
@pytest.mark.parametrize(
    "batch", [None, Batch(size=1, merge=lambda items: items[0])], ids=["", "merged"]
)
def test_a_failure_is_told_in_the_protocols_own_form(
    site: Site,
    caplog: pytest.LogCaptureFixture,
    protocol: ProtocolName,
    failing: Callable[[], Iterator[Any]],
    batch: Batch | None,
) -> None:
    """The id leads to the log, and the client learns nothing else."""
    response = site.respond(failing(), protocol=protocol, batch=batch)
    told = failure_of(protocol, data_of(response.response))
    text = told["errorText"] if protocol == "ai-sdk" else told["error"]["message"]
    (record,) = caplog.records
    end_id = record.message.split()[-2]
    assert text == f"the stream ended by an error ({end_id})"
    assert record.exc_info


@each_protocol
def test_a_failure_before_the_first_item_is_told(
    site: Site, caplog: pytest.LogCaptureFixture, protocol: ProtocolName | None
) -> None:
    """The status has been sent by then."""
    body = b"".join(site.respond(at_once(), protocol=protocol).response)
    assert b"a secret" not in body
    assert (b"the stream ended by an error" in body) == (protocol is not None)
    (record,) = caplog.records
    assert record.exc_info


def test_without_a_protocol_a_failure_cuts_the_connection(
    site: Site,
    caplog: pytest.LogCaptureFixture,
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """A client would otherwise take half an answer for the whole one."""
    ours, theirs = pair
    body = a_body(site, in_the_middle(), ours, protocol=None)
    ours.sendall(next(body))
    with pytest.raises(StopIteration):
        next(body)
    assert json.loads(parse(theirs.recv(1000))[0].data) == A
    assert theirs.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        ours.sendall(b"0\r\n\r\n")
    (record,) = caplog.records
    assert record.message.endswith("its protocol has no event for errors [SSE-1602]")


def test_a_cause_has_a_traceback_once_and_each_reader_has_an_id_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that is away ends each answer by the same error."""
    bodies = [b"".join(site.respond(at_once()).response) for _ in range(2)]
    assert [bool(each.exc_info) for each in caplog.records] == [True, False]
    for sent, record in zip(bodies, caplog.records, strict=True):
        (end_id,) = re.findall(r"the id (\S+)", record.getMessage())
        assert end_id.encode() in sent


def test_without_a_protocol_a_complete_answer_cuts_nothing(
    site: Site, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The server ends the response, and may keep the connection."""
    ours, theirs = pair
    for chunk in a_body(site, [A], ours, protocol=None):
        ours.sendall(chunk)
    ours.sendall(b"0\r\n\r\n")
    assert theirs.recv(1000).endswith(b"0\r\n\r\n")


@each_protocol
def test_a_client_that_leaves_is_told_nothing(
    site: Site, protocol: ProtocolName | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The iterable is stopped, and nothing is logged."""
    upstream = Upstream(lambda: iter([A] * 1000))
    body = a_body(site, upstream, protocol=protocol)
    body.peer_left()
    assert next(body, None) is None
    wait_until(lambda: upstream.closed == 1)
    assert caplog.records == []


@each_strict
def test_a_stopping_worker_breaks_an_answer_off(
    site: Site, protocol: ProtocolName
) -> None:
    """The items so far are sent, then an error: the answer is not complete."""
    more = threading.Event()

    def waiting() -> Iterator[Any]:
        yield A
        more.wait(DEADLINE)
        yield B

    body = a_body(site, waiting(), protocol=protocol)
    wait_until(lambda: bool(producer_of(body)._items))
    body.worker_leaves()
    told = failure_of(protocol, data_of(body))
    more.set()
    text = told["errorText"] if protocol == "ai-sdk" else told["error"]["message"]
    assert text.startswith("the server is restarting (end-")
    if protocol == "openai":
        assert told["error"]["code"] == "shutdown"


@each_strict
def test_a_stopping_worker_sends_the_end_if_the_iterable_has_ended(
    site: Site, protocol: ProtocolName
) -> None:
    """The answer is complete."""
    body = a_body(site, [A], protocol=protocol)
    wait_until(lambda: producer_of(body)._ended)
    body.worker_leaves()
    item, end = data_of(body)
    assert (json.loads(item), end) == (A, "[DONE]")


def test_a_stopping_worker_cuts_an_answer_without_a_protocol(
    site: Site, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The client's read fails, so it knows that more was to come."""
    ours, theirs = pair
    more = threading.Event()

    def waiting() -> Iterator[Any]:
        yield A
        more.wait(DEADLINE)

    body = a_body(site, waiting(), ours, protocol=None)
    wait_until(lambda: bool(producer_of(body)._items))
    body.worker_leaves()
    assert [json.loads(data) for data in data_of(body)] == [A]
    more.set()
    assert theirs.recv(1) == b""
