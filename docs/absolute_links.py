"""Make the links of the README absolute, for an index of packages.

An index shows the README without its repository, so relative links and pictures lead
nowhere there. Run this before a release, with the address of the release's files::

    python -m docs.absolute_links https://github.com/OWNER/NAME/blob/v1.0.0
"""

import re
import sys
from pathlib import Path

_README = Path(__file__).parents[1] / "README.md"

#: The end of a Markdown link or picture, or an attribute of HTML, with a relative path.
_RELATIVE = re.compile(r"(\]\(|(?:src|srcset|href)=\")(?![a-z]+:|#|/)([^)\"\s]+)")


def absolute(text: str, address: str) -> str:
    """Return a page of the repository's root with links below an address.

    Pictures of GitHub come from another path than pages: ``blob`` becomes ``raw``.
    """

    def link(match: re.Match[str]) -> str:
        place = address
        if match[2].endswith((".svg", ".png")):
            place = address.replace("/blob/", "/raw/")
        return f"{match[1]}{place.rstrip('/')}/{match[2]}"

    blocks = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(
        block if block.startswith("```") else _RELATIVE.sub(link, block)
        for block in blocks
    )


if __name__ == "__main__":
    (address,) = sys.argv[1:]
    _README.write_text(absolute(_README.read_text(), address))
