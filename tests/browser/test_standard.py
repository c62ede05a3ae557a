"""Our client beside the native EventSource, with the standard's own cases."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.browser.engines import Engine
from tests.browser.standard.cases import CASES, OTHERWISE, OTHERWISE_IN, Case
from tests.browser.standard.server import CLIENT, RUN, StandardServer, described
from tests.live.server import ROOT
from tests.wire.real_parts import absent

pytestmark = pytest.mark.browser

NODE = RUN.with_name("node.mjs")


@pytest.fixture
def server() -> Iterator[StandardServer]:
    with StandardServer() as server:
        yield server


def test_each_case_is_read_as_the_standard_says(
    engine: Engine, server: StandardServer, record_property: Any
) -> None:
    """Each difference is listed with its reason, and none is listed for nothing."""
    profile = engine.new_context()
    page = profile.new_page()
    page.set_default_timeout(100_000)
    page.goto(server.url)
    page.wait_for_function("window.isReady")
    page.evaluate("(cases) => start(cases)", [*map(described, CASES.values())])
    page.wait_for_function("window.results !== null")
    found = page.evaluate("results")
    profile.close()
    differing = _differing(server, found, "ours")
    wanted = {*OTHERWISE, *OTHERWISE_IN.get(engine.name, {})}
    assert differing.keys() == wanted, differing
    ours, native = (
        len(CASES) - len(_differing(server, found, by)) for by in ("ours", "native")
    )
    shown = f"{ours} of {len(CASES)}, EventSource {native}"
    record_property("shows", shown)
    _look_at_reasons(found)


def test_each_case_is_read_so_in_node(server: StandardServer) -> None:
    """Node.js has no origin, so nothing is of another one."""
    if not (ROOT / "tests/node_modules/eventsource").is_dir():
        absent("eventsource", remedy="install Node.js 18 or later, `npm ci` in tests")
    cases = [described(case) for case in CASES.values() if not case.is_cross]
    done = subprocess.run(
        ["node", str(NODE), server.url, str(CLIENT)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    differing = _differing(server, json.loads(done.stdout), "ours")
    assert differing.keys() == {*OTHERWISE, *OTHERWISE_IN["node"]}, differing


def _differing(
    server: StandardServer, found: Mapping[str, Any], by: str
) -> dict[str, str]:
    """Return the cases that a client does not read as the standard says."""
    faults = {
        name: _fault(CASES[name], each[by]["events"], server.requests[by, name])
        for name, each in found.items()
    }
    return {name: fault for name, fault in faults.items() if fault}


def _fault(case: Case, events: list[list[str]], requests: list[str | None]) -> str:
    if [*map(tuple, events)] != case.events:
        return f"it has {events!s:.200}"
    # A redirect is a request too.
    answered = 2 if case.is_redirected else 1
    if case.returns != (len(requests) > answered):
        return f"it asks {len(requests)} times"
    if not case.returns:
        return ""
    # Headers are bytes, which the server reads as Latin 1.
    wanted = case.sends and case.sends.encode().decode("latin-1")
    return "" if requests[-1] == wanted else f"it sends {requests[-1]!r}"


def _look_at_reasons(found: Mapping[str, Any]) -> None:
    """Compare the reasons that our client gives, which an EventSource does not."""
    assert found["status 401"]["ours"]["reasons"] == ["unauthorized"]
    assert found["type of HTML"]["ours"]["reasons"] == ["not-a-stream"]
    refused = found["another origin that says nothing"]["ours"]
    assert refused["reasons"] == ["network"]
    assert "has no CORS headers" in refused["message"]
