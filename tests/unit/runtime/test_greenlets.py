"""Greenlets: long work gives the rest of the process its turn."""

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
