"""Kept values: those of an address, and those below a pattern."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_sse_hub.events import kept
from flask_sse_hub.events.address import channel
from flask_sse_hub.events.channel_patterns import covers
from flask_sse_hub.events.kept import KeptValues

CHANNELS = ["a", "a.b", "a.b.c", "b.a"]
ASKED = [*CHANNELS, "a.*", "a.b.*", "b.*", "c.*"]


class Value(NamedTuple):
    offset: int
    ends: float = math.inf


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "remove"]),
            st.sampled_from(CHANNELS),
            st.sampled_from("xy"),
            st.sampled_from(ASKED),
            st.integers(0, 9),
        ),
        max_size=25,
    )
)
def test_a_pattern_has_the_values_of_its_channels_in_order(
    steps: list[tuple[str, str, str, str, int]],
) -> None:
    """Whether it was asked for before the values came, or after, or again."""
    values: KeptValues[Value] = KeptValues(lambda value: value.offset)
    held: dict[tuple[str, str], Value] = {}
    for offset, (step, name, key, asked, after) in enumerate(steps, 1):
        if step == "put":
            held[name, key] = Value(offset)
            values.put(channel(name), key, held[name, key])
        else:
            found = held.pop((name, key), None)
            assert values.remove(channel(name), key) == found
        expected = sorted(
            value
            for (name, _), value in held.items()
            if covers(asked, name) and value.offset > after
        )
        assert values.after(channel(asked), after) == expected


def test_few_patterns_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients choose them: the oldest one is gathered again when it is asked for."""
    monkeypatch.setattr(kept, "_MOST_PATTERNS", 2)
    values: KeptValues[Value] = KeptValues(lambda value: value.offset)
    values.put(channel("a.b"), "x", Value(1))
    for offset in range(2, 5):
        for name in ("a.*", "b.*", "c.*"):
            values.after(channel(name), 0)
        values.put(channel("a.b"), "x", Value(offset))
        assert values.after(channel("a.*"), 0) == [Value(offset)]
    assert len(values._by_pattern) == 2
