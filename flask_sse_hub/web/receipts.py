"""Receipts in an app: the question for one, from views and scripts."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from flask import has_request_context

from ..errors import BrokerUnavailable
from ..events.record import Cursor
from ..hub.receipts.fold import Receipt
from ..hub.receipts.questions import AnswersReceipts, look_up

if TYPE_CHECKING:
    from .app_state import AppState


class HasReceipts(AnswersReceipts):
    """The question for receipts, as a method of the extension."""

    _state: "Callable[[], AppState]"

    def _receipts(self) -> Callable[[Cursor], Receipt | None]:
        hub = self._state().hub
        if has_request_context():
            # The process of a server asks again. A script would pay for threads.
            with suppress(BrokerUnavailable):
                hub.start()
        if not hub.ready:
            return partial(look_up, hub.broker)
        return hub.receipt
