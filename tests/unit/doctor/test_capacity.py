"""The need of a load: arithmetic on constants."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from flask_sse_hub.doctor.capacity import Constants, Load, plan
from tests.conftest import MakeSite

COSTS = Constants(
    worker_bytes=50_000_000,
    stream_bytes=2_000,
    view_us=500,
    connect_us=1_000,
    publish_us=100,
    event_us=1_000,
    delivery_us=10,
    delivery_kib_us=2,
    ping_us=20,
    ping_bytes=60,
    wire_bytes=50,
    memory_bytes=400,
    sqlite_bytes=500,
    redis_bytes=200,
    redis_sent_bytes=200,
    redis_us=50,
    redis_worker_us=10,
)
LOAD = Load(
    streams=10_000,
    events=10.0,
    receivers=1_000.0,
    bytes=1024,
    connects=10.0,
    heartbeat=30.0,
    history_events=1_000,
    history_seconds=3600.0,
    history_bytes=10**9,
    memory_history_bytes=10**6,
    max_clients=10_000,
)


def test_each_cost_counts() -> None:
    """Deliveries, connects, pings, and each event in each worker."""
    found = plan(LOAD, COSTS)
    pings = 10_000 / 30 * math.exp(-30)
    assert found.workers == 1
    assert found.cpu == pytest.approx(
        10 * 1e-3 + 10_000 * 12e-6 + 10 * 1e-3 + pings * 20e-6
    )
    assert found.requests == pytest.approx(found.cpu * 2_000)
    assert found.memory == 50_000_000 + 10**6 + 10_000 * 2_000
    assert found.descriptors_of_each == 10_010
    assert found.sent == pytest.approx(10_000 * 1074 + pings * 60)
    assert found.publish_cpu == pytest.approx(1e-3)
    assert found.reach_seconds == 100.0
    assert found.sqlite_bytes == 1_000 * 1524
    assert found.redis_cpu == pytest.approx(10 * 60e-6)
    assert found.redis_sent == 10 * 1224
    assert found.return_seconds == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("changes", "workers"),
    [
        ({"streams": 10_001}, 2),
        ({"receivers": 10_000.0}, 3),
        ({"workers": 7}, 7),
        ({"events": 0.0}, 1),
        ({"events": 600.0, "receivers": 10.0}, 1),
    ],
    ids=["streams", "deliveries", "given", "silence", "too-many-events"],
)
def test_there_are_as_many_workers_as_needed(
    changes: dict[str, Any], workers: int
) -> None:
    """By streams and by CPU time. No number of workers is enough for some loads."""
    found = plan(replace(LOAD, **changes), COSTS)
    assert found.workers == workers
    is_enough = found.cpu_of_each <= 0.5
    assert is_enough == (changes.get("events") != 600.0)


def test_silent_streams_are_pinged() -> None:
    """One ping in a heartbeat each, and history reaches back as far as it may."""
    found = plan(replace(LOAD, events=0.0, connects=0.0), COSTS)
    assert found.sent == pytest.approx(10_000 / 30 * 60)
    assert found.reach_seconds == 3600.0


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 100.0),
        ({"history_seconds": 50.0}, 50.0),
        ({"history_bytes": 1174 * 200}, 20.0),
    ],
)
def test_the_first_bound_of_history_counts(
    changes: dict[str, Any], seconds: float
) -> None:
    """Events, seconds or bytes."""
    assert plan(replace(LOAD, **changes), COSTS).reach_seconds == seconds


class TestCommand:
    """``flask sse plan`` knows the settings of its app."""

    @pytest.fixture
    def run(self, make_site: MakeSite) -> Any:
        """Return a function that runs the command."""
        site = make_site(max_clients=500, history_events=100)
        runner = site.app.test_cli_runner()
        return lambda *words: runner.invoke(args=["sse", "plan", *words])

    def test_it_prints_the_need_and_what_is_beyond_a_limit(self, run: Any) -> None:
        """The limits are those of the app."""
        result = run("--streams", "1200", "--events", "2", "--workers", "2")
        assert result.exit_code == 0
        assert result.stdout.startswith("2 workers")
        assert "=> SSE_HUB_MAX_CLIENTS allows 500 streams in a worker" in result.stdout
        assert "history reaches back 50 s at this rate" in result.stdout
        assert "=> clients that were away for longer" in result.stdout

    def test_it_prints_json_for_programs(self, run: Any) -> None:
        """With the load that it is about."""
        result = run("--streams", "1200", "--events", "0", "--json")
        found = json.loads(result.stdout)
        assert found["plan"]["workers"] == 3
        assert found["load"]["receivers"] == 1200
        assert found["load"]["connects"] == pytest.approx(1200 / 3600)

    @pytest.mark.parametrize(
        "words",
        [
            [],
            ["--streams", "0", "--events", "1"],
            ["--streams", "9", "--events", "-1"],
            ["--streams", "9", "--events", "nan"],
            ["--streams", "9", "--events", "1", "--receivers", "10"],
        ],
    )
    def test_a_load_that_cannot_be_is_refused(self, run: Any, words: list[str]) -> None:
        """Before anything is computed."""
        assert run(*words).exit_code == 2
