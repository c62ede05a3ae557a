"""A front end as a user's project has it: its sources, and the client as a package."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.live.server import ROOT
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Route

PACKAGES = ROOT / "tests" / "node_modules"


def install(folder: Path) -> None:
    """Install the packages for a front end into its folder.

    The client is installed as ``npm install ./sse-hub`` does it: by a link to the
    folder that ``flask sse client`` has written.
    """
    link_packages(folder)
    flask = [sys.executable, "-m", "flask", "--app", "tests.live.site:create_app()"]
    run(*flask, "sse", "client", str(folder / "sse-hub"), cwd=ROOT)
    modules = folder / "node_modules"
    modules.mkdir()
    (modules / "sse-hub").symlink_to("../sse-hub")


def link_packages(folder: Path) -> None:
    """Let a folder import the packages of the tests."""
    if not (PACKAGES / "vite").is_dir():
        absent("vite", remedy="install Node.js 18 or later and run `npm ci` in tests")
    # Node.js and bundlers look for a package in all folders above, too.
    (folder.parent / "node_modules").symlink_to(PACKAGES)


def run(*command: str, cwd: Path) -> str:
    """Run a command that must succeed, and return its output."""
    environ = os.environ | {"LIVE_DATABASE": ":memory:", "NEXT_TELEMETRY_DISABLED": "1"}
    process = subprocess.run(
        command,
        cwd=cwd,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def serve(context: "BrowserContext", built: Path, *, path: str = "/") -> None:
    """Serve a built front end on the server's origin, as behind a common proxy."""

    def answer(route: "Route") -> None:
        name = urlsplit(route.request.url).path.removeprefix(path)
        file = built / (name or "index.html")
        if file.is_file():
            route.fulfill(path=file)
        else:
            route.fulfill(status=404)

    context.route(re.compile(rf"//[^/]+{path}(?!events)"), answer)
