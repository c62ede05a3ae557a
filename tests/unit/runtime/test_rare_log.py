"""A log that strangers cannot fill."""

import logging

import pytest

from flask_sse_hub.runtime.rare_log import RareLog
from flask_sse_hub.testing import Clock


def test_a_kind_of_line_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A line says how many like it were left out since the last one."""
    clock = Clock()
    log = RareLog(logging.getLogger(__name__), clock=clock)
    for _ in range(5):
        log.say("full", "the house is full")
    log.say("broken", "the house is broken", level=logging.ERROR)
    clock.advance(60.0)
    log.say("full", "the house is full")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the house is full"),
        ("ERROR", "the house is broken"),
        ("WARNING", "the house is full (4 more since the last such line)"),
    ]
