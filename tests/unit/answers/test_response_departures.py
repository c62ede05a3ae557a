"""Answers that end early: departed clients, stopping workers, blocking writes."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Response
from werkzeug.test import EnvironBuilder

from flask_sse_hub import EventSourceResponse
from flask_sse_hub.answers.departures import Departures
from tests.kit.reader import DEADLINE, StreamReader, wait_until
from tests.unit.answers.conftest import Site, a_body, producer_of, producers, until_done
from tests.unit.answers.test_producer import Upstream


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection on which a departure is seen at once: ours, theirs."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_closing_stops_the_iterable_and_runs_close_callbacks(site: Site) -> None:
    """Both happen once, even if the response is closed several times."""
    closed: list[str] = []
    upstream = Upstream(lambda: iter(range(1000)))

    @site.app.get("/hooked")
    def hooked() -> Response:
        response = EventSourceResponse(upstream)
        response.call_on_close(lambda: closed.append("hook"))
        return response

    body = site.app(EnvironBuilder("/hooked").get_environ(), lambda *_: lambda _: None)
    next(iter(body))
    body.close()  # type: ignore[attr-defined]
    body.close()  # type: ignore[attr-defined]
    wait_until(lambda: upstream.closed == 1)
    assert closed == ["hook"]
    assert next(iter(body), None) is None


def test_a_server_that_interrupts_the_response_stops_the_iterable(site: Site) -> None:
    """A worker interrupts a response at its timeout, and then calls nothing more."""
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream)

    def interrupt(timeout: float) -> None:
        raise SystemExit

    body._source.take = interrupt  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        next(body)
    wait_until(lambda: upstream.closed == 1)


def test_a_peer_that_may_have_left_is_probed(site: Site) -> None:
    """The probe is a comment that does not end a block."""
    going_on = threading.Event()
    body = a_body(site, (going_on.wait() for _ in range(1)))
    body.probe()
    assert next(body) == b":\n"
    body.close()
    going_on.set()


def test_a_departed_peer_ends_the_stream_and_the_iterable(site: Site) -> None:
    """No event is sent, and the server does not wait."""
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream)
    body.peer_left()
    assert next(body, None) is None
    wait_until(lambda: upstream.closed == 1)


def test_a_stopping_worker_ends_the_stream_after_the_yielded_items(site: Site) -> None:
    """The error event has the reason and an id that prevents a second run."""
    more = threading.Event()

    def waiting() -> Iterator[str]:
        yield "a"
        more.wait(DEADLINE)
        yield "never sent"

    upstream = Upstream(waiting)
    body = a_body(site, upstream)
    wait_until(lambda: bool(producer_of(body)._items))
    body.worker_leaves()
    reader = StreamReader(body)
    assert reader.next().data == "a"
    error = reader.next()
    told = json.loads(error.data)
    assert (error.type, told["reason"], told["id"]) == ("error", "shutdown", error.id)
    assert "message" in told
    reader.wait_for_end()
    more.set()
    wait_until(lambda: upstream.closed == 1)
    assert site.respond([], query=f"last_event_id={error.id}").status_code == 204


def test_a_stopping_worker_sends_done_if_the_iterable_has_ended(
    site: Site,
) -> None:
    """The answer is complete, so the client receives no error."""
    body = a_body(site, ["a"])
    wait_until(lambda: producer_of(body)._ended)
    body.worker_leaves()
    assert until_done(StreamReader(body)) == ["a"]


def test_a_blocking_write_is_cut_off(
    site: Site, pair: tuple[socket.socket, socket.socket]
) -> None:
    """cut() shuts down the connection, unless the server has already closed it."""
    ours, theirs = pair
    body = a_body(site, [], ours)
    body.cut()
    assert theirs.recv(1) == b""
    body.close()
    body.cut()


def test_a_stopping_worker_accepts_no_further_request_on_the_connection(
    site: Site, pair: tuple[socket.socket, socket.socket], monkeypatch: Any
) -> None:
    """The connection's stream has ended. Bytes already written are still sent."""
    ours, theirs = pair
    body = a_body(site, [], ours)
    monkeypatch.setattr(Departures, "worker_is_leaving", True)
    ours.sendall(b"".join(body))
    assert ours.recv(1) == b""
    assert b"event: done" in theirs.recv(1000)


def test_a_departed_client_is_noticed_between_heartbeats(
    site: Site, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The server does not have to call close()."""
    ours, theirs = pair
    upstream = Upstream(lambda: iter(range(1000)))
    body = a_body(site, upstream, ours)
    theirs.close()
    wait_until(lambda: upstream.closed == 1)
    body.close()


def test_no_line_is_logged_for_a_departed_client(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that leaves is no error."""
    with caplog.at_level(logging.WARNING):
        body = a_body(site, iter(range(1000)))
        body.close()
        wait_until(lambda: not producers())
    assert caplog.records == []
