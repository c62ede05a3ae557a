"""Primitives below gevent keep the same promises with and without patching."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from flask_sse_hub.runtime import greenlets, native, sockets
from flask_sse_hub.runtime.bell import new_bell
from flask_sse_hub.runtime.reply import Reply


def start_real_thread(target: object, *args: object) -> None:
    native.original("_thread", "start_new_thread")(target, args)


def test_a_bell_is_heard_from_a_real_thread() -> None:
    """A publisher in a real thread, not a greenlet, wakes the follower."""
    bell = new_bell()
    start_real_thread(bell.ring)
    assert bell.wait(10.0)
    bell.close()


def test_a_bell_that_was_rung_before_is_heard_once() -> None:
    """No event is missed between looking at the log and waiting."""
    bell = new_bell()
    bell.ring()
    bell.ring()
    assert bell.wait(10.0)
    assert not bell.wait(0.01)
    bell.close()


@pytest.mark.skipif(not greenlets.patched(), reason="only greenlets are interrupted")
def test_a_greenlet_is_interrupted_only_while_that_is_allowed() -> None:
    """Permission is asked when the interruption happens, not when it is requested."""
    found: list[object] = []
    going_on = threading.Event()
    ended: list[str] = []

    def wait() -> None:
        found.append(greenlets.current_greenlet())
        try:
            going_on.wait()
            ended.append("by itself")
        except BaseException as interruption:  # noqa: BLE001 - its type is asserted
            ended.append(type(interruption).__name__)

    for allowed in (False, True):
        asked = threading.Event()

        def may(allowed: bool = allowed, asked: threading.Event = asked) -> bool:
            asked.set()
            return allowed

        thread = threading.Thread(target=wait)
        thread.start()
        greenlets.interrupt(found[-1], allowed=may)
        assert asked.wait(10.0)
        if not allowed:
            going_on.set()
        thread.join(10.0)
        going_on.clear()
    assert ended == ["by itself", "GreenletExit"]


def test_a_real_thread_is_no_greenlet() -> None:
    """A real thread cannot be interrupted."""
    found: list[object] = []
    start_real_thread(lambda: found.append(greenlets.current_greenlet()))
    deadline = time.monotonic() + 10.0
    while not found and time.monotonic() < deadline:
        time.sleep(0.001)
    assert found == [None]


def test_a_closed_bell_can_be_rung() -> None:
    """A publisher may have read the bell a moment before it was closed."""
    bell = new_bell()
    bell.close()
    rung = threading.Event()

    def ring() -> None:
        bell.ring()
        rung.set()

    ring()
    assert rung.is_set()


def test_a_native_lock_excludes_real_threads() -> None:
    """Greenlets and threads share the memory broker's log."""
    lock = native.native_lock()
    order: list[str] = []

    def take() -> None:
        with lock:
            order.append("thread")

    with lock:
        start_real_thread(take)
        native.original("time", "sleep")(0.05)
        order.append("holder")
    deadline = time.monotonic() + 10.0
    while len(order) < 2 and time.monotonic() < deadline:
        greenlets.breathe()
    assert order == ["holder", "thread"]


def test_other_threads_run_during_breathe() -> None:
    """Sockets are served in the middle of a long fan-out."""
    ours, theirs = socket.socketpair()
    served = threading.Event()

    def serve() -> None:
        theirs.recv(1)
        served.set()

    server = threading.Thread(target=serve)
    server.start()
    ours.send(b"x")
    deadline = time.monotonic() + 10.0
    while not served.is_set() and time.monotonic() < deadline:
        greenlets.breathe()
    assert served.is_set()
    server.join()
    ours.close()
    theirs.close()


def test_breathe_returns_while_others_are_busy_all_the_time() -> None:
    """A moment without traffic may never come, so breathe() does not wait for it."""
    ours, theirs = socket.socketpair()
    rounds = 0
    stopped = False

    def play(ball: socket.socket) -> None:
        nonlocal rounds
        with suppress(OSError):
            while not stopped and ball.recv(1):
                rounds += 1
                ball.send(b"x")

    players = [threading.Thread(target=play, args=(end,)) for end in (ours, theirs)]
    for player in players:
        player.start()
    ours.send(b"x")
    before = rounds
    for _ in range(50):
        greenlets.breathe()
    while rounds == before:
        greenlets.breathe()
    stopped = True
    ours.shutdown(socket.SHUT_RDWR)
    for player in players:
        player.join()
    ours.close()
    theirs.close()


_TWO_THREADS_POST = """
from gevent import monkey; monkey.patch_all()
import collections, gevent
from flask_sse_hub.runtime import native as _native, reply, sockets
from flask_sse_hub.runtime.reply import Reply
from flask_sse_hub.runtime.bell import Bell, new_bell

start = _native.original("_thread", "start_new_thread")

class Interrupted(collections.deque):
    # A thread may lose its turn right after it has appended.
    def append(self, each):
        super().append(each)
        while len(self) < 2:
            _native.pause(0.001)

def main():
    one, two = reply.Reply(), reply.Reply()
    gevent.get_hub()._sse_hub_mailbox._posted = Interrupted()
    start(one.set, (1,)); start(two.set, (2,))
    assert (one.wait(1.0), two.wait(1.0)) == (1, 2)

gevent.spawn(main).get()
"""


def test_answers_of_two_threads_at_once_both_arrive() -> None:
    """Neither thread relies on the other one to wake the greenlets."""
    command = [sys.executable, "-c", _TWO_THREADS_POST]
    subprocess.run(command, check=True, timeout=30.0)


class TestReply:
    """The answer of a real thread to a greenlet or thread that waits."""

    def test_an_answer_arrives_from_a_real_thread(self) -> None:
        """The asker may wait in the main thread, in another thread or in a greenlet."""
        answers: list[object] = []

        def ask() -> None:
            reply = Reply()
            native.start_thread(lambda: reply.set("answer"))
            answers.append(reply.wait(10.0))

        asker = threading.Thread(target=ask)
        asker.start()
        asker.join()
        ask()
        assert answers == ["answer", "answer"]

    def test_an_error_is_raised_in_the_asker(self) -> None:
        """The error is raised as if there were no thread in between."""
        reply = Reply()
        native.start_thread(lambda: reply.fail(ZeroDivisionError()))
        with pytest.raises(ZeroDivisionError):
            reply.wait(10.0)

    def test_waiting_for_an_answer_times_out(self) -> None:
        """The asker receives a TimeoutError."""
        with pytest.raises(TimeoutError):
            Reply().wait(0.01)


def test_a_peer_that_acknowledges_nothing_is_left_to_the_kernel() -> None:
    """The kernel ends the connection by itself. Sockets other than TCP are ignored."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        sockets.limit_unacknowledged(ours, 2.5)
        level, option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
        assert ours.getsockopt(level, option) == 2500
        ours.close()
    unix, other = socket.socketpair()
    sockets.limit_unacknowledged(unix, 2.5)
    unix.close()
    other.close()
    sockets.limit_unacknowledged(unix, 2.5)


class TestShutdown:
    def test_shutdown_ends_the_connection_and_leaves_the_descriptor(self) -> None:
        """The server closes the socket that it opened; a blocked write ends at once."""
        ours, theirs = socket.socketpair()
        sockets.shutdown(ours.fileno())
        assert theirs.recv(1) == b""
        assert ours.fileno() >= 0
        ours.close()
        theirs.close()

    @pytest.mark.parametrize("descriptor", [-1, 10_000])
    def test_a_connection_that_is_gone_is_no_error(self, descriptor: int) -> None:
        """The connection may have been closed a moment ago."""
        assert sockets.shutdown(descriptor) is None  # type: ignore[func-returns-value]

    def test_a_pipe_is_left_alone(self) -> None:
        """A descriptor that is no socket still works afterwards."""
        reading, writing = os.pipe()
        sockets.shutdown(writing)
        os.write(writing, b"x")
        assert os.read(reading, 1) == b"x"
        os.close(reading)
        os.close(writing)


class TestUnsentBytes:
    def test_bytes_that_the_peer_has_not_taken_are_counted(self) -> None:
        """The count tells a stalled client from a slow one."""
        listener = socket.create_server(("127.0.0.1", 0))
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        ours.setblocking(False)
        try:
            while True:
                ours.send(b"x" * 65536)
        except BlockingIOError:
            waiting = sockets.unsent_bytes(ours.fileno())
        assert waiting > 0
        for each in (listener, ours, theirs):
            each.close()

    def test_the_count_is_zero_without_a_socket(self) -> None:
        """The heartbeat looks at many sockets, and one may just have gone."""
        assert sockets.unsent_bytes(-1) == 0
        assert sockets.unsent_bytes(10_000) == 0


def test_in_greenlet_tells_whether_a_greenlet_runs_the_code() -> None:
    """Under gevent's own server without patching, a stream would block everything."""
    in_thread: list[bool] = []
    thread = threading.Thread(target=lambda: in_thread.append(greenlets.in_greenlet()))
    thread.start()
    thread.join()
    assert in_thread == [greenlets.patched()]
