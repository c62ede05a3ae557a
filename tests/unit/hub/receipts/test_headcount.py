"""Headcounts: exact for a thousand people, and close for any number."""

import pytest

from flask_sse_hub.hub.receipts.headcount import Headcount


def numbered(start: int, stop: int) -> Headcount:
    return Headcount.of(map(str, range(start, stop)))


def test_people_on_two_workers_count_once() -> None:
    """Up to a thousand the number is exact."""
    assert numbered(0, 600).merged(numbered(400, 999)).people == 999


def test_many_people_are_estimated_in_bounded_space() -> None:
    """The estimate of a merged count is as close as that of one worker."""
    found = numbered(0, 6_000).merged(numbered(4_000, 10_000))
    assert abs(found.people - 10_000) < 1_000
    assert len(found.sample) == len(numbered(0, 1_000).sample)


def test_a_headcount_travels_as_text() -> None:
    """The text has all of it."""
    found = numbered(0, 9)
    assert Headcount.parse(str(found)) == found
    assert Headcount.parse(str(Headcount())).people == 0


@pytest.mark.parametrize("text", ["a", "AAAA", "!!!!!!!!", "AAAAAAAA" * 1_001])
def test_a_foreign_text_is_refused(text: str) -> None:
    """Another program cannot fill the memory."""
    with pytest.raises(ValueError):
        Headcount.parse(text)
