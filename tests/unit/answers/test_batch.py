"""Batches: the items that are sent together, and the time when they are due."""

import math
from typing import Any

import pytest

from flask_sse_hub import Batch, ConfigurationError
from flask_sse_hub.answers.batch import Collector


def test_a_full_batch_is_due_at_once() -> None:
    """A full batch does not wait for its interval."""
    collector = Collector(Batch(size=3, interval=10.0))
    collector.add("a", now=5.0)
    collector.add("b", now=6.0)
    assert collector.due == 15.0
    collector.add("c", now=7.0)
    assert collector.due == 7.0
    assert collector.take() == ["a", "b", "c"]


def test_the_interval_begins_with_the_first_item() -> None:
    """Later items do not extend the interval. The next batch has its own."""
    collector = Collector(Batch(size=10, interval=0.5))
    assert collector.due == math.inf
    collector.add("a", now=1.0)
    collector.add("b", now=1.4)
    assert collector.due == 1.5
    collector.take()
    assert collector.due == math.inf
    collector.add("c", now=9.0)
    assert collector.due == 9.5


def test_the_last_batch_contains_the_remaining_items() -> None:
    """The last batch is empty if no item is left."""
    collector = Collector(Batch())
    collector.add("a", now=0.0)
    assert collector.take() == ["a"]
    assert collector.take() == []


def test_items_are_merged_into_one() -> None:
    """Items are merged in order. An empty batch stays empty."""
    collector = Collector(Batch(merge="".join))
    for piece in ("on", "ce ", "upon"):
        collector.add(piece, now=0.0)
    assert collector.take() == ["once upon"]
    assert collector.take() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"size": 10_001},
        {"size": True},
        {"size": 2.0},
        {"interval": 0},
        {"interval": -1.0},
        {"interval": 86_401},
        {"interval": math.inf},
        {"interval": math.nan},
        {"interval": "0.1"},
        {"interval": True},
        {"merge": ""},
    ],
    ids=str,
)
def test_invalid_settings_of_a_batch_are_refused(wrong: dict[str, Any]) -> None:
    """The constructor raises, rather than the first item."""
    with pytest.raises(ConfigurationError, match=r"batch|merge"):
        Batch(**wrong)
