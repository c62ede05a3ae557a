"""A server that gives a case's answer once, and then 204."""

import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.browser.standard.cases import CASES, STREAM, Case
from tests.kit.ports import HOST
from tests.live.server import ROOT

RUN = Path(__file__).with_name("run.mjs")
CLIENT = ROOT / "flask_sse_hub/static/sse-hub.js"

_PAGE = """<!doctype html>
<title>The standard</title>
<script type="module">
  import { connect } from "./sse-hub.js";
  import { run } from "./run.mjs";
  window.results = null;
  window.start = (cases) => {
    const here = location.origin;
    const elsewhere = here.replace("127.0.0.1", "localhost");
    const urlOf = ({ name, isCross }, by) =>
      `${isCross ? elsewhere : here}/case/${encodeURIComponent(name)}?by=${by}`;
    run(cases, { connect, EventSource, urlOf }).then((found) => {
      window.results = found;
    });
  };
  window.isReady = true;
</script>
"""


def described(case: Case) -> dict[str, Any]:
    """Return the parts of a case that a client needs."""
    return {
        "name": case.name,
        "isCross": case.is_cross,
        "credentials": case.credentials,
        "types": [type for type, *_ in case.events],
    }


class _Handler(BaseHTTPRequestHandler):
    server: "StandardServer"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/":
            return self._give(200, _PAGE.encode(), {"Content-Type": "text/html"})
        if parts.path in ("/sse-hub.js", "/run.mjs"):
            file = CLIENT if parts.path == "/sse-hub.js" else RUN
            script = {"Content-Type": "text/javascript"}
            return self._give(200, file.read_bytes(), script)
        case = CASES.get(unquote(parts.path.removeprefix("/case/")))
        if case is None:
            return self._give(404, b"", {})
        query = parse_qs(parts.query)
        by = query["by"][0]
        requests = self.server.requests[by, case.name]
        requests.append(self.headers["Last-Event-ID"])
        if "redirected" in query and len(requests) == 2:
            return self._give(200, case.body, {"Content-Type": STREAM})
        path = f"/case/{quote(case.name)}?by={by}"
        origin = self.headers["Origin"] or ""
        filled = {
            name: value.format(by=by, self=path, origin=origin)
            for name, value in case.headers.items()
        }
        if len(requests) == 1 or case.name == "redirect to itself":
            self._give(case.status, case.body, filled)
        else:
            allowed = {n: v for n, v in filled.items() if n.startswith("Access")}
            self._give(204, b"", allowed)
        return None

    def do_HEAD(self) -> None:
        self._give(200, b"", {})

    def do_OPTIONS(self) -> None:
        """Allow the headers of our client where the case allows the origin."""
        case = CASES[unquote(urlsplit(self.path).path.removeprefix("/case/"))]
        origin = self.headers["Origin"] or ""
        headers = {
            name: value.format(origin=origin) for name, value in case.headers.items()
        }
        allowed = {"Access-Control-Allow-Headers": "Prefer, Last-Event-ID"}
        self._give(204, b"", headers | allowed)

    def _give(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if body:
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Write nothing: results are in the test."""


class StandardServer(ThreadingHTTPServer):
    """The server, as long as its block lasts."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        #: The Last-Event-ID of each request, by client and case.
        self.requests: dict[tuple[str, str], list[str | None]] = defaultdict(list)
        self.url = f"http://{HOST}:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()


def cases_as_json() -> str:
    return json.dumps([described(case) for case in CASES.values()])
