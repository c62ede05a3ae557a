"""The bounds that one channel's history can have."""

import math

from flask_sse_hub.events.record import ChannelBounds


def test_a_bound_counts_only_what_exceeds_it() -> None:
    """The newest events of a channel are kept."""
    bounds = ChannelBounds(events=3)
    assert [bounds.excess(held) for held in (0, 3, 5)] == [0, 0, 2]
    assert bounds.oldest(1_000.0) == -math.inf


def test_a_bound_in_seconds_is_a_time() -> None:
    """Events from before that time are too old, however few they are."""
    bounds = ChannelBounds(seconds=60.0)
    assert bounds.oldest(1_000.0) == 940.0
    assert bounds.excess(1_000_000) == 0
