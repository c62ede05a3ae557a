"""Greenlets: long work gives the rest of the process its turn."""

import threading
import time
from types import SimpleNamespace

import pytest

from flask_sse_hub.runtime import greenlets


def test_long_work_is_interrupted_between_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each slice of time ends with a turn for everything else that is ready."""
    now = 0.0
    breaths: list[float] = []
    monkeypatch.setattr(greenlets, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(greenlets, "breathe", lambda: breaths.append(now))
    done = []
    for item in greenlets.unhurried(range(10)):
        now += 0.001
        done.append(item)
    assert done == list(range(10))
    assert breaths == pytest.approx([0.003, 0.006, 0.009])


def test_a_change_that_nobody_reports_is_noticed_by_the_event_loop() -> None:
    """The loop asks before each wait, so no timer has to wake an idle process."""
    if not greenlets.patched():
        assert greenlets.when(lambda: True, lambda: None) is None
        return
    has_come: list[bool] = []
    noticed: list[bool] = []
    done = threading.Event()

    def note() -> None:
        noticed.append(True)
        done.set()

    watcher = greenlets.when(lambda: bool(has_come), note)
    assert watcher is not None
    # The loop asks from its next turn on.
    greenlets.breathe()
    assert not noticed
    has_come.append(True)
    assert done.wait(10.0)
    time.sleep(0)
    assert noticed == [True]
