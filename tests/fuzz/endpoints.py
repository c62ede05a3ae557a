"""The HTTP endpoints: a real gunicorn answers as ``docs/openapi.json`` says it does.

Schemathesis makes requests of the description, valid and not. A stream is endless, and
nobody would see the end of a 200: whoever asks has as many open as a user may, so that
all is checked and the answer is when to come back. Streams that open are for the other
targets, which read them as far as they know that something comes.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.engine import Outcome
from tests.live.server import ROOT, Server
from tests.ports import HOST

NAME = "HTTP endpoints"

#: What the tokens in schemathesis.toml are good for.
_SETTINGS: dict[str, Any] = {
    "publish_tokens": ["a-token-for-everything"],
    "stats_access": "a-token-for-statistics",
    "max_clients_per_user": 1,
    "user_limit": "refuse",
}

# Beyond any doubt, also while the machine does other things.
_SLOW_SECONDS = "5"

# What is tried of each description at its limits before anything is drawn.
_COVERED = 400


def run(*, cases: int, seed: int) -> Outcome:
    """Try about so many requests, and never less than each limit of the schema."""
    with Server(**_SETTINGS) as server, server.stream(user="admin") as stream:
        stream.next("connected")
        report = server.folder / "report.json"
        # Two operations take all kinds of requests, the others very few.
        most = max(1, (cases - _COVERED) // 2)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", Path(__file__).with_name("schemathesis.toml")),
                *("run", ROOT / "docs/openapi.json"),
                *("--url", f"http://{HOST}:{server.port}"),
                *("--phases", "coverage,fuzzing", "--continue-on-failure"),
                *("--max-examples", str(most), "--seed", str(seed)),
                *("--max-response-time", _SLOW_SECONDS, "--no-color"),
                *("--request-timeout", _SLOW_SECONDS),
                *("--report-json-path", report),
            ],
            # It leaves files where it runs.
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
