"""Channel patterns: which there are, and what they cover."""

from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_sse_hub.errors import InvalidName
from flask_sse_hub.events.address import BROADCAST, channel, checked_channel, user
from flask_sse_hub.events.channel_patterns import (
    MAX_DOTS,
    checked_subscription,
    covers,
    heard_at,
    is_heard,
    is_within,
    range_below,
    reaches,
)

BAD = ["*", "a*", "a.*.b", "**", ".*", "a.**", "*.a", "a.b*", "a:*", "a.*.*", "a*.*"]


@pytest.mark.parametrize("name", BAD)
def test_a_star_elsewhere_is_refused(name: str) -> None:
    """A glob pattern of the settings is not always one of a stream."""
    with pytest.raises(InvalidName, match="no pattern of channels: only the last part"):
        checked_subscription(name)
    with pytest.raises(InvalidName, match="is a pattern, not a channel's name"):
        checked_channel(name)


def test_a_stream_has_channels_and_patterns() -> None:
    """A pattern has as few parts as the index of an event."""
    for name in ("news", "orders.*", "a b.c:d.*", ".x", "x." * MAX_DOTS + "*"):
        assert checked_subscription(name) == name
    with pytest.raises(InvalidName, match="has 9 dots; a pattern can have 8"):
        checked_subscription("x." * MAX_DOTS + "y.*")
    with pytest.raises(InvalidName, match="must be a str"):
        checked_subscription(7)
    with pytest.raises(InvalidName, match="use stream"):
        checked_subscription(["orders.*"], call="stream")


def test_an_event_is_heard_at_the_patterns_above_its_channels() -> None:
    """Other addresses may have dots too, and are no channels."""
    ann, deep = user("ann@example.org"), channel("orders.eu.7")
    above = [channel("orders.*"), channel("orders.eu.*")]
    assert heard_at((deep, ann)) == (deep, ann, *above)
    assert heard_at((deep, channel("orders.x")))[2:] == tuple(above)
    assert heard_at((ann, BROADCAST)) == (ann, BROADCAST)
    assert heard_at((channel(".x"),)) == (channel(".x"),)
    assert len(heard_at((channel("x." * 99),))) == 1 + MAX_DOTS


PARTS = st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=4)
NAMES = PARTS.map(".".join).filter(bool)
PATTERNS = NAMES.map(lambda name: name + ".*")


@given(subscription=NAMES | PATTERNS, name=NAMES)
def test_all_ways_of_matching_agree(subscription: str, name: str) -> None:
    """Indexes ask for the addresses of an event, tickets for names, SQLite for a range.

    A glob pattern of the settings with the same text matches the same channels.
    """
    covered = covers(subscription, name)
    assert covered is is_heard(channel(name), {channel(subscription)})
    assert covered is fnmatchcase(name, subscription)
    if subscription.endswith(".*"):
        first, end = range_below(channel(subscription))
        assert covered is (first <= channel(name) < end)


GLOBS = st.text("ab.*?[]!", min_size=1, max_size=6)
# The channels below a pattern that a short glob pattern could tell apart.
BELOW = ["".join(each) for n in range(5) for each in product("ab.]", repeat=n)]


@given(pattern=PATTERNS, glob=GLOBS)
@example(pattern="a.*", glob="a.[*]")
@example(pattern="a.*", glob="a.?")
@example(pattern="a.*", glob="*b")
def test_a_glob_pattern_covers_or_reaches_a_pattern(pattern: str, glob: str) -> None:
    """No channel is opened or missed, compared with looking at each channel."""
    matched = [fnmatchcase(pattern[:-1] + each, glob) for each in BELOW]
    if is_within(pattern, [glob]):
        assert all(matched)
    if any(matched):
        assert reaches(pattern, [glob])


def test_a_glob_pattern_that_ends_in_a_star_covers() -> None:
    """The beginnings of patterns are compared, not their texts."""
    assert is_within("orders.*", ["news", "orders.*"])
    assert is_within("orders.eu.*", ["order*"])
    assert is_within("orders.*", ["*"])
    assert not is_within("orders.*", ["orders.eu.*", "orders.?", "*.eu", "orders.[*]"])
    assert not reaches("orders.*", ["order.*", "news"])
    assert reaches("orders.*", ["*.secret"])
