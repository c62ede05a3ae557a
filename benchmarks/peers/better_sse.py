"""better-sse on Node.js."""

import json
import shutil
import subprocess
from pathlib import Path

from benchmarks.peers.base import Peer

_FOLDER = Path(__file__).parent
_PACKAGE = _FOLDER / "node_modules" / "better-sse" / "package.json"


class BetterSSE(Peer):
    """A channel of sessions on Node's own HTTP server."""

    name = "better-sse"
    label = "better-sse on Node.js"
    is_app_server = True

    @classmethod
    def absence(cls) -> str | None:
        """Return why Node.js or the package is missing, or None."""
        if shutil.which("node") is None:
            return "node is not installed"
        if _PACKAGE.exists():
            return None
        return "better-sse is not installed: make bench-peers"

    @classmethod
    def version(cls) -> str:
        """Return the versions of the package and of Node.js."""
        node = subprocess.run(
            ["node", "--version"], capture_output=True, text=True, check=True
        )
        package = json.loads(_PACKAGE.read_text())["version"]
        return f"better-sse {package}, Node.js {node.stdout.strip().removeprefix('v')}"

    def start(self) -> None:
        """Run one process."""
        self.run(["node", _FOLDER / "apps" / "with_better_sse.mjs", str(self.port)])
