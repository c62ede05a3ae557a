"""What MkDocs is told beside mkdocs.yml: files outside of docs/, and links to them.

All pages are read as plain files too, so their links are those of the repository.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]

#: Files from outside of docs/, and where the site has them: not beside one whose name
#: differs in its case alone.
_OUTSIDE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security-policy.md",
    "benchmarks/README.md": "project/benchmarks.md",
    # To be copied; as text, which browsers show.
    "gunicorn.conf.py": "project/gunicorn.conf.txt",
}

#: The front page is the site's own.
_PLACES = {"README.md": "index.md"} | _OUTSIDE

#: Pages about what others make, which have a word as often as those that explain it.
_OF_OTHERS = {"datastar.md", "htmx.md", "migration.md", "turbo.md", "webhooks.md"}

#: A block of code, which is left alone, or a link to a file and perhaps a part of it.
_BLOCK_OR_LINK = re.compile(
    r"^(?P<indent> *)```.*?^(?P=indent)```"
    r"|(?<!!)\[(?P<text>[^\]]*)\]\((?![a-z]+:)(?P<path>[^)#\s]+)(?P<part>#[^)]*)?\)",
    re.DOTALL | re.MULTILINE,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files from outside of docs/."""
    for source, place in _OUTSIDE.items():
        path = str(_ROOT / source)
        files.append(File.generated(config, place, abs_src_path=path))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Have links lead to where the site has what they lead to in the repository.

    And have the search show pages about others after those that explain a word.
    """
    place = page.file.src_uri
    if place in _OF_OTHERS:
        page.meta["search"] = {"boost": 0.5}
    source = {place: source for source, place in _OUTSIDE.items()}.get(place)
    return relinked(markdown, source=source or f"docs/{place}", place=place)


def relinked(markdown: str, *, source: str, place: str) -> str:
    """Return a page of the repository with the links for its place in the site.

    What is in the repository and not in the site is named only. A link to what is in
    neither stays as it is, so that a strict build refuses it.
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


def on_post_page(output: str, **_: object) -> str:
    """Give the theme's search a name, for screen readers."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')
