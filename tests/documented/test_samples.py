"""Every code block in the documentation is run by a test, unless it is a drawing."""

import importlib
from pathlib import Path

import pytest

from tests.documented import samples
from tests.documented.samples import PAGES, ROOT, Sample, blocks

#: Drawings, by a text in them. Never add a block that could be run or compared.
DRAWINGS = {
    "docs/design/browser-client.md": ["script()'s meta element"],
    "docs/design/hub.md": ["Broker -> Follower -> Dispatcher"],
}


@pytest.fixture(scope="module")
def taken() -> set[Sample]:
    """The blocks that test modules take when they are imported."""
    for path in (ROOT / "tests").rglob("*.py"):
        if "tests.documented.samples" in path.read_text() and path != Path(__file__):
            module = path.relative_to(ROOT).with_suffix("")
            importlib.import_module(".".join(module.parts))
    return samples.taken


def is_drawing(block: Sample) -> bool:
    known = DRAWINGS.get(block.page, [])
    return block.language == "text" and any(each in block.code for each in known)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run(page: str, taken: set[Sample]) -> None:
    """Take it with ``sample()`` at the top of the module that runs it."""
    left = {block for block in blocks(page) if not is_drawing(block)} - taken
    assert sorted(f"{block.page}:{block.line} {block.language}" for block in left) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_block_names_its_language(page: str) -> None:
    """Highlighting needs the language, and so does the search for untested blocks."""
    assert [block.line for block in blocks(page) if not block.language.strip()] == []
    fences = (ROOT / page).read_text().count("```")
    assert fences == 2 * len(blocks(page)), "a fence that is not read as a block"
