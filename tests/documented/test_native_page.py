"""The clients in Go, Swift and Kotlin of docs/native.md, by their form."""

import re

import pytest

from tests.documented.samples import sample

PAGE = "docs/native.md"
PROGRAMS = {
    "go": sample(PAGE, "go", with_="package main"),
    "swift": sample(PAGE, "swift", with_="URLSession"),
    "kotlin": sample(PAGE, "kotlin", with_="OkHttpClient"),
}

_TEXT_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*')
_PAIRS = {")": "(", "]": "[", "}": "{"}


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_is_whole(language: str) -> None:
    """Each bracket has its other one, so nothing was lost in an edit of the page."""
    left = []
    for sign in _TEXT_OR_COMMENT.sub("", PROGRAMS[language]):
        if sign in _PAIRS.values():
            left.append(sign)
        elif sign in _PAIRS:
            assert left, f"a {sign} too many"
            assert left.pop() == _PAIRS[sign]
    assert left == []


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_speaks_as_the_hub_reads(language: str) -> None:
    """It asks for a stream with its token and last id, and obeys refusals."""
    code = PROGRAMS[language]
    for part in ("text/event-stream", "Bearer ", "Last-Event-ID", "Retry-After"):
        assert part in code
    for status in ("204", "401", "403", "404"):
        assert status in code
