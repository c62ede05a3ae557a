"""Servers that cannot hold streams say so, and what to do instead."""

import pytest

from tests.live.server import Server

pytestmark = pytest.mark.live


def test_a_sync_worker_is_refused_with_a_remedy() -> None:
    """One stream would block the worker for everybody."""
    with Server("gunicorn-sync") as server:
        status, _ = server.get("/events", Authorization="Bearer alice")
        assert status == 500
        assert "start it with `-k gevent`" in server.log


def test_a_development_server_without_threads_is_refused() -> None:
    """The same, for flask run."""
    with Server("flask-run", args="--without-threads") as server:
        status, _ = server.get("/events", Authorization="Bearer alice")
        assert status == 500
        assert "leave out --without-threads" in server.log


def test_several_workers_are_refused_by_the_memory_broker() -> None:
    """Events would not reach the clients of the other workers, silently."""
    with Server(args="--workers 2") as server:
        assert server.get("/events", Authorization="Bearer alice")[0] == 500
        assert server.request("POST", "/publish", body={"data": "x"})[0] == 500
        assert server.get("/events/health")[0] == 503
        assert "keeps events within one process" in server.log
