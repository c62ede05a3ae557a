"""The code blocks in the documentation, and a record of the blocks that tests run.

A test module takes its blocks when it is imported. test_samples.py can then check that
all blocks are taken, without a server or a browser.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: The paths of all pages: those of the site, and those of the repository's root.
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks/README.md"]
    )
]

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Sample:
    """A code block with its page, line, language and code."""

    page: str
    line: int
    language: str
    code: str = field(repr=False)


#: The blocks that have been taken so far.
taken: set[Sample] = set()


@cache
def blocks(page: str) -> tuple[Sample, ...]:
    """Return all code blocks of a page."""
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
    """Take all blocks of a page in a language. There must be at least one."""
    found = [each for each in blocks(page) if each.language == language]
    assert found, f"{page} has no {language}"
    taken.update(found)
    return [each.code for each in found]


def sample(page: str, language: str, *, with_: str = "") -> str:
    """Take the only block in a language that contains the text ``with_``."""
    found = [
        each
        for each in blocks(page)
        if each.language == language and with_ in each.code
    ]
    assert len(found) == 1, f"{page} has {len(found)} of {language} with {with_!r}"
    taken.update(found)
    return found[0].code
