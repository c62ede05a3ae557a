"""The blocks of code in the documentation, and those that tests have taken to run them.

A module of tests takes its blocks when it is imported, so that test_samples.py knows
of all of them without running anything that needs a server or a browser.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: The pages by their path: those of the site, and the front page of the repository.
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks/README.md"]
    )
]

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Sample:
    """A block of code: where it is, what it is in, and what it says."""

    page: str
    line: int
    language: str
    code: str = field(repr=False)


#: The blocks that were taken so far.
taken: set[Sample] = set()


@cache
def blocks(page: str) -> tuple[Sample, ...]:
    """Return all blocks of a page."""
    text = (ROOT / page).read_text()
    return tuple(
        Sample(
            page,
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE),
        )
        for match in _BLOCK.finditer(text)
    )


def samples(page: str, language: str) -> list[str]:
    """Take the blocks of a page that are in a language, of which there are some."""
    found = [each for each in blocks(page) if each.language == language]
    assert found, f"{page} has no {language}"
    taken.update(found)
    return [each.code for each in found]


def sample(page: str, language: str, *, with_: str = "") -> str:
    """Take the one block in a language that has a text in it."""
    found = [
        each
        for each in blocks(page)
        if each.language == language and with_ in each.code
    ]
    assert len(found) == 1, f"{page} has {len(found)} of {language} with {with_!r}"
    taken.update(found)
    return found[0].code
