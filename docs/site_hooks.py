"""Hooks for MkDocs: add files from outside of docs/, and adapt links to them.

All pages are also read as plain files, so their links are relative to the repository.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]

#: Files from outside of docs/, with their places in the site. Two names in one folder
#: must not differ only in case.
_OUTSIDE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security-policy.md",
    "benchmarks/README.md": "project/benchmarks.md",
    # For readers to copy; as a .txt file, which browsers show.
    "gunicorn.conf.py": "project/gunicorn.conf.txt",
}

#: The site has its own front page in place of the README.
_PLACES = {"README.md": "index.md"} | _OUTSIDE

#: Pages that use a word as often as the page that explains it: lists, pages about other
#: packages, and pages for contributors. The search lists them later.
_LATER = {
    *("index.md", "compatibility.md", "datastar.md", "htmx.md", "migration.md"),
    *("socketio.md", "turbo.md", "project/benchmarks.md", "project/contributing.md"),
    "project/changelog.md",
}

#: A code block, which is not changed, or a link to a file with an optional fragment.
_BLOCK_OR_LINK = re.compile(
    r"^(?P<indent> *)```.*?^(?P=indent)```"
    r"|(?<!!)\[(?P<text>[^\]]*)\]\((?![a-z]+:)(?P<path>[^)#\s]+)(?P<part>#[^)]*)?\)",
    re.DOTALL | re.MULTILINE,
)

_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_HEAD = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
_ROW_OR_CELL = re.compile(r"<tr>|<td([^>]*)>")

#: The text of code within a sentence or a table, or a heading of one name, if long.
_NAME = re.compile(
    r"(?<=<code>)[^<]{12,}(?=</code>)"
    r"|(?<=>)[\w.]{16,}(?=<a class=\"?headerlink)"
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files from outside of docs/."""
    for source, place in _OUTSIDE.items():
        path = str(_ROOT / source)
        files.append(File.generated(config, place, abs_src_path=path))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Change links to the repository into links to the site.

    Also make the search list some pages after the pages that explain a word to users.
    """
    place = page.file.src_uri
    if place.startswith("reference/"):
        page.meta["search"] = {"boost": 0.3}
    elif place in _LATER or place.startswith("design/"):
        page.meta["search"] = {"boost": 0.5}
    source = {place: source for source, place in _OUTSIDE.items()}.get(place)
    return relinked(markdown, source=source or f"docs/{place}", place=place)


def relinked(markdown: str, *, source: str, place: str) -> str:
    """Return a page of the repository with links that fit its place in the site.

    A link to a file that is not in the site becomes plain text. A link to a missing
    file stays as it is, so that a strict build refuses it.
    """

    def relink(match: re.Match[str]) -> str:
        if match["path"] is None:
            return match[0]
        path = os.path.normpath(Path(source).parent / match["path"])
        if path in _PLACES:
            target = _PLACES[path]
        elif path.startswith("docs/"):
            target = path.removeprefix("docs/")
        else:
            return match["text"] if (_ROOT / path).exists() else match[0]
        target = os.path.relpath(target, Path(place).parent)
        return f"[{match['text']}]({target}{match['part'] or ''})"

    return _BLOCK_OR_LINK.sub(relink, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Let tables be read as cards on a phone."""
    return labelled(html)


def labelled(html: str) -> str:
    """Return a page's tables with the head of its column at each cell but the first.

    Cells of a column without a head, and the heads of columns that only say "meaning",
    need no label.
    """

    def label(table: re.Match[str]) -> str:
        heads = [re.sub("<.*?>", "", head) for head in _HEAD.findall(table[0])]
        place: Iterator[str] = iter(())

        def cell(found: re.Match[str]) -> str:
            nonlocal place
            if found[0] == "<tr>":
                place = iter(heads)
                return found[0]
            head = next(place, "")
            if head in ("", heads[0], "meaning"):
                return found[0]
            return f'<td data-label="{head}"{found[1]}>'

        rows = _ROW_OR_CELL.sub(cell, table[0])
        return rows.replace("<table>", "<table data-cards>", 1)

    return _TABLE.sub(label, html)


def on_post_page(output: str, **_: object) -> str:
    """Give the theme's search a name for screen readers; let long names break.

    On a phone, a name in a table then breaks between its words, and not within one.
    """
    search = 'data-md-component="search" role="dialog"'
    output = output.replace(search, f'{search} aria-label="Search"')
    return _NAME.sub(lambda name: re.sub(r"([_/.,=(])", r"\1<wbr>", name[0]), output)
