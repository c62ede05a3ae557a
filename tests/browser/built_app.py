"""The React app, built by Vite, as in a user's project."""

import shutil
from pathlib import Path

from tests.browser.front_end import install, run
from tests.documented.samples import sample

APP = Path(__file__).parent / "react_app"

#: The component in the documentation, and a page that shows it.
COMPONENT = sample("docs/browser.md", "jsx", with_="useSSE")
TYPES = sample("docs/browser.md", "ts")
EVENTS = sample("docs/typed-events.md", "ts", with_="export interface Events")
TYPED = sample("docs/typed-events.md", "ts", with_='from "sse-hub"')
DOCUMENTED = """
import { createRoot } from "react-dom/client";
createRoot(document.getElementById("root")).render(<Inbox />);
"""


def write_sources(folder: Path) -> None:
    """Write the app, with the client that ``flask sse client`` writes into it."""
    shutil.copytree(APP, folder)
    install(folder)
    (folder / "documented.ts").write_text(TYPES)
    (folder / "events.ts").write_text(EVENTS)
    shown = "declare function show(number: number, note: string | null): void;\n"
    (folder / "typed.ts").write_text(shown + TYPED)
    (folder / "documented.jsx").write_text(COMPONENT + DOCUMENTED)
    html = (folder / "index.html").read_text()
    (folder / "documented.html").write_text(html.replace("main.tsx", "documented.jsx"))


def build(sources: Path) -> Path:
    """Build the app, and return the folder of the result."""
    run("../node_modules/.bin/vite", "build", cwd=sources)
    return sources / "dist"
