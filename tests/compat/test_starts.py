"""Ways to start and replace gunicorn, without a loss to streams."""

import signal

import pytest

from tests.compat.table import compat
from tests.kit.hand import fields
from tests.kit.reader import wait_until
from tests.live.server import Server, asleep, gone

pytestmark = pytest.mark.live


@compat("gunicorn", "gunicorn gevent", "a socket of systemd")
def test_workers_at_a_socket_of_systemd() -> None:
    """Systemd has opened the socket, and several workers share it."""
    with Server("gunicorn-systemd", args="--workers 2") as server:
        wait_until(lambda: len(server.workers()) == 2)
        streams = []
        for worker in server.workers():
            with server.only(worker):
                streams.append(server.stream())
                streams[-1].next("connected")
        server.publish("hello")
        for stream in streams:
            assert stream.data(1) == ["hello"]
            stream.close()


@compat("gunicorn", "gunicorn gevent", "an upgrade by USR2")
def test_an_upgrade_by_usr2_loses_nothing() -> None:
    """The new master serves beside the old one, which ends its streams at its TERM."""
    with Server() as server, server.stream() as stream:
        stream.next("connected")
        old = server.worker()
        server.signal(signal.SIGUSR2)
        with asleep(old):
            new = server.worker()
        server.publish("to both masters")
        assert stream.data(1) == ["to both masters"]
        server.process.terminate()
        stream.wait_for_end()
        wait_until(lambda: gone(old))
        assert server.worker() == new
        server.publish("missed")
        with server.stream(Last_Event_ID=stream.last_event_id) as again:
            assert fields(again.next())["resumed"] is True
            assert again.data(1) == ["missed"]
