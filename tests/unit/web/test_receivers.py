"""Receivers of Flask's signals live exactly as long as their app."""

import gc
import weakref
from typing import Any

import pytest
from blinker import NamedSignal, Namespace
from flask import Flask, request_started
from flask_login import session_protected, user_logged_in, user_logged_out

from flask_sse_hub import SSEHub
from flask_sse_hub.web import receivers

SIGNALS = [request_started, session_protected, user_logged_in, user_logged_out]


class Receiver:
    """Count the signals that it has got."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []

    def receive(self, app: Flask, **sent: Any) -> None:
        self.got.append(sent)


class TestReceivers:
    def test_each_app_gets_its_own_signals(self) -> None:
        signal = Namespace().signal("test")
        first, second = Flask("first"), Flask("second")
        of_first, of_second = Receiver(), Receiver()
        receivers.connect(signal, of_first.receive, first)
        receivers.connect(signal, of_second.receive, second)

        signal.send(first, user=1)

        assert of_first.got == [{"user": 1}]
        assert of_second.got == []

    def test_all_receivers_of_an_app_get_a_signal_once(self) -> None:
        signal, app = Namespace().signal("test"), Flask("app")
        one, other = Receiver(), Receiver()
        receivers.connect(signal, one.receive, app)
        receivers.connect(signal, other.receive, app)

        signal.send(app)

        assert (len(one.got), len(other.got)) == (1, 1)

    def test_a_receiver_can_leave_while_it_is_called(self) -> None:
        signal, app, other = Namespace().signal("test"), Flask("app"), Receiver()

        def once(app: Flask, **_: Any) -> None:
            receivers.disconnect(signal, once, app)
            receivers.disconnect(signal, once, app)

        receivers.connect(signal, once, app)
        receivers.connect(signal, other.receive, app)
        signal.send(app)
        signal.send(app)

        assert len(other.got) == 2

    def test_leaving_without_having_come_does_nothing(self) -> None:
        receivers.disconnect(
            Namespace().signal("test"), Receiver().receive, Flask("app")
        )

    def test_a_signal_does_not_keep_an_app(self) -> None:
        app = Flask("app")
        SSEHub(app)
        ended = weakref.ref(app)

        del app
        gc.collect()

        assert ended() is None

    @pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
    def test_no_receiver_of_the_extension_is_weak(self, signal: NamedSignal) -> None:
        """The end of a weak one fails if a thread connects a sender in the meantime."""
        app = Flask("app")
        SSEHub(app)

        assert not [
            each
            for each in signal.receivers.values()
            if isinstance(each, weakref.WeakMethod) and "flask_sse_hub" in repr(each())
        ]
