"""Receivers of Flask's signals that live exactly as long as their app.

Knows blinker and the app's ``extensions``. Does not know what a receiver does.

blinker refers to a bound method weakly. At the method's end it walks over the senders
of the signal, and fails if another thread connects one meanwhile. Here blinker gets one
plain function for each signal, which never ends, and the app keeps its own methods.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from blinker import NamedSignal
from flask import Flask

_KEPT = "sse_hub_receivers"


def connect(signal: NamedSignal, receiver: Callable[..., object], app: Flask) -> None:
    """Call a receiver at each signal of an app. The signal does not keep the app."""
    kept = app.extensions.setdefault(_KEPT, {})
    kept.setdefault(signal, []).append(receiver)
    signal.connect(_passing_on(signal), sender=app, weak=False)


def disconnect(
    signal: NamedSignal, receiver: Callable[..., object], app: Flask
) -> None:
    """Take a receiver away. Nothing happens if it is not connected (any more)."""
    kept = app.extensions.get(_KEPT, {}).get(signal, ())
    if receiver in kept:
        kept.remove(receiver)


@cache
def _passing_on(signal: NamedSignal) -> Callable[..., None]:
    def pass_on(app: Flask, **sent: Any) -> None:
        for receiver in list(app.extensions[_KEPT][signal]):
            receiver(app, **sent)

    return pass_on
