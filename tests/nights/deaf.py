"""A fault: one worker of a server stops following the log, without an error."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress

from flask import Flask

from flask_sse_hub.brokers import LogBatch
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.events.record import Cursor
from tests.live import site

_follow = SQLiteBroker.follow


def _follow_once(self: SQLiteBroker, after: Cursor) -> Iterator[LogBatch]:
    for batch in _follow(self, after):
        yield batch
        threading.Event().wait()


def create_app() -> Flask:
    with suppress(FileExistsError):
        os.close(os.open("deaf", os.O_CREAT | os.O_EXCL))
        SQLiteBroker.follow = _follow_once  # type: ignore[method-assign]
    return site.create_app()
