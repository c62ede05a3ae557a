"""Patterns of channels, and the ttl that they give to events."""

import json
from ast import literal_eval
from typing import Any

import pytest

from flask_sse_hub import InvalidEvent
from flask_sse_hub.events import address
from flask_sse_hub.events.address import UNSET
from flask_sse_hub.events.compose import Composer
from flask_sse_hub.events.patterns import ChannelHistories, DefaultTtls, first_match
from flask_sse_hub.events.record import ChannelBounds

TTLS = DefaultTtls.of({"typing.*": 5, "typing.slow": 9, "cursors.*": 0})


def ttl_of(ttl: Any = UNSET, **target: Any) -> float | None:
    return Composer(json.dumps, 100, TTLS).record("x", ttl=ttl, **target).ttl


def test_the_first_pattern_that_matches_counts() -> None:
    """It may be the more special one."""
    patterns = ["room.vip", "room.*"]
    found = [first_match(name, patterns) for name in ("room.vip", "room.7", "news")]
    assert found == ["room.vip", "room.*", None]


@pytest.mark.parametrize(
    ("channels", "ttl"),
    [
        ("typing.7", 5.0),
        ("typing.7.a", 5.0),
        ("cursors.7", 0.0),
        ("typing.slow", 9.0),
        (["cursors.7", "typing.7"], 5.0),
        (["typing.7", "chat.7"], None),
        ("chat.7", None),
        ([], None),
    ],
)
def test_an_event_has_the_longest_ttl_of_its_channels(
    channels: str | list[str], ttl: float | None
) -> None:
    """It is kept if one of its targets is not named by a pattern."""
    assert ttl_of(channel=channels) == ttl


def test_only_channels_are_named_by_patterns() -> None:
    """A user or everyone receives the event whatever their names are."""
    assert ttl_of() is None
    assert ttl_of(user="typing.7") is None
    assert ttl_of(channel="typing.7", user="7") is None


def test_an_argument_comes_first() -> None:
    """None keeps the event as long as history does."""
    assert ttl_of(2, channel="typing.7") == 2.0
    assert ttl_of(0, channel="typing.7") == 0.0
    assert ttl_of(None, channel="typing.7") is None
    assert ttl_of(604_800, channel="chat") == 604_800.0


@pytest.mark.parametrize("ttl", [-1, 604_801, float("nan"), float("inf"), "5", True])
def test_an_impossible_ttl_is_refused(ttl: Any) -> None:
    """The error names the range in seconds, so that milliseconds are noticed."""
    with pytest.raises(InvalidEvent, match=r"ttl must be .*seconds"):
        ttl_of(ttl)


HISTORIES = ChannelHistories.of(
    {"chat.big": {"seconds": 60}, "chat.*": {"events": 9, "seconds": 5}}
)


def bounds_of(**target: Any) -> ChannelBounds | None:
    composer = Composer(json.dumps, 100, histories=HISTORIES)
    return composer.record("x", **target).bounds


def test_the_first_pattern_bounds_the_history_of_a_channel() -> None:
    """An event for one channel alone has them, and no other one."""
    assert bounds_of(channel="chat.7") == ChannelBounds(9, 5.0)
    assert bounds_of(channel="chat.big") == ChannelBounds(seconds=60.0)
    for target in (
        {"channel": "news"},
        {"channel": ["chat.7", "chat.8"]},
        {"channel": "chat.7", "user": "1"},
        {"channel": "chat.7", "ttl": 5},
        {"user": "chat.7"},
        {},
    ):
        assert bounds_of(**target) is None


def test_histories_are_shown_as_an_app_writes_them() -> None:
    """In the page of settings, and in an error."""
    assert ChannelHistories.of(literal_eval(repr(HISTORIES))) == HISTORIES


def test_the_channel_is_that_of_the_address() -> None:
    """Other addresses have none."""
    assert address.channel_of(address.channel("a:b")) == "a:b"
    assert address.channel_of(address.user("a")) is None
    assert address.channel_of(address.BROADCAST) is None
