"""The HTTP endpoints: a real gunicorn answers as ``docs/openapi.json`` describes.

Schemathesis makes valid and invalid requests from the description. It could not check
a stream, which never ends. So the user already has as many streams open as allowed,
and each request for one receives a refusal, which is checked. The other targets read
open streams, since they know which events come.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.engine import Outcome
from tests.kit.ports import HOST
from tests.live.server import ROOT, Server

NAME = "HTTP endpoints"

#: The permissions of the tokens in schemathesis.toml.
_SETTINGS: dict[str, Any] = {
    "publish_tokens": ["a-token-for-everything"],
    "stats_access": "a-token-for-statistics",
    "max_clients_per_user": 1,
    "on_user_limit": "refuse",
}

# Far too slow, even while the machine does other work.
_SLOW_SECONDS = "5"

# The requests of the coverage phase, which come before any request is drawn.
_COVERED = 1_080

# The console has nearly as many. In a short run, those of its unit tests suffice.
_COVERED_CONSOLE = 2 * _COVERED
_WITHOUT_CONSOLE = ("--exclude-path-regex", "^/events/console/")


def run(*, cases: int, seed: int) -> Outcome:
    """Try about ``cases`` requests, and at least each limit of the schema."""
    with Server(**_SETTINGS) as server, server.stream(user="admin") as stream:
        stream.next("connected")
        report = server.folder / "report.json"
        # Two operations accept many kinds of requests, the others very few.
        most = max(1, (cases - _COVERED) // 2)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", Path(__file__).with_name("schemathesis.toml")),
                *("run", ROOT / "docs/openapi.json"),
                *("--url", f"http://{HOST}:{server.port}"),
                *("--phases", "coverage,fuzzing", "--continue-on-failure"),
                *("--max-examples", str(most), "--seed", str(seed)),
                *(() if cases > _COVERED_CONSOLE else _WITHOUT_CONSOLE),
                *("--max-response-time", _SLOW_SECONDS, "--no-color"),
                *("--request-timeout", _SLOW_SECONDS),
                *("--report-json-path", report),
            ],
            # Schemathesis leaves files in its working directory.
            cwd=server.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        finding = done.stdout if done.returncode else None
        if "Traceback" in server.log:
            finding = f"{finding or ''}{server.log}"
        made = json.loads(report.read_text())["test_cases"]["generated"]
        return Outcome(Counter({"as described": made}), finding)
