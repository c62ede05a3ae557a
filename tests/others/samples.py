"""The code of the how-to pages: what the tests here run is what people copy."""

import re
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"


def samples(page: str, language: str) -> list[str]:
    """Return the blocks of a language that a page of the documentation has."""
    text = (_DOCS / f"{page}.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def sample(page: str, language: str, *, with_: str) -> str:
    """Return the one block that has a text in it."""
    (found,) = (code for code in samples(page, language) if with_ in code)
    return found
