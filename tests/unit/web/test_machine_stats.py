"""``sse_hub.machine_stats()``: all workers of the machine, from an app or a script."""

from pathlib import Path

import pytest
from flask import Flask

from flask_sse_hub import SSEHub
from tests.conftest import MakeSite, Site
from tests.kit.reader import wait_until


@pytest.fixture
def make_worker(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeSite:
    """Return a function that returns a worker; all of them have one log in a file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url = f"sqlite:///{tmp_path}/hub.db"
    return lambda: make_site(broker_url=url, public_channels=["news"])


def shown(site: Site, workers: int) -> SSEHub:
    """Return a worker's hub when the given number of workers answers it."""
    with site.app.app_context():
        wait_until(lambda: len(site.hub.machine_stats().workers) == workers)
    return site.hub


def test_it_sums_the_streams_of_all_workers(make_worker: MakeSite) -> None:
    """A user with streams on two workers counts once."""
    first, second = make_worker(), make_worker()
    for site in (first, second):
        site.browser("alice").stream("/events?channel=news").next("connected")
    second.browser("bob").stream("/events").next("connected")
    hub = shown(first, workers=2)
    with first.app.app_context():
        found = hub.machine_stats()
        assert hub.stats().connections == 1
    assert (found.total.connections, found.total.users) == (3, 2)
    assert found.total.channels == {"news": 2}
    assert [each.worker for each in found.workers] == [0, 1]
    assert sorted(each.connections for each in found.workers) == [1, 2]
    assert found.silent == ()


def test_a_request_makes_its_process_a_worker(make_worker: MakeSite) -> None:
    """The first request to a worker may be one for a page of the app."""
    site = make_worker()
    site.app.add_url_rule(
        "/open", "open", lambda: str(len(site.hub.machine_stats().workers))
    )
    assert site.browser().get("/open").text == "1"


def test_a_script_asks_the_workers_and_is_no_worker(make_worker: MakeSite) -> None:
    """A cron job does not take a worker's number."""
    worker, script = make_worker(), make_worker()
    with script.app.app_context():
        assert script.hub.machine_stats().workers == ()
        assert script.hub.machine_stats().total.connections == 0
    worker.browser("alice").stream("/events").next("connected")
    hub = shown(script, workers=1)
    with script.app.app_context():
        assert hub.machine_stats().total.connections == 1
    assert shown(worker, workers=1) is worker.hub


def test_a_log_in_memory_has_one_worker() -> None:
    """No other process can follow it."""
    app = Flask("alone")
    app.config.update(SECRET_KEY="a key for tests", SSE_HUB_BROKER_URL="memory://")
    hub = SSEHub(app)
    with app.test_request_context():
        assert [each.worker for each in hub.machine_stats().workers] == [0]
    app.extensions["sse_hub"].close()
