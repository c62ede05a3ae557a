"""``flask sse streams``, ``top``, ``disconnect`` and ``doctor`` in the app's shell."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeSite, Site
from tests.kit.reader import wait_until

Run = Callable[..., Any]


@pytest.fixture
def site(make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An app with a log in a file, whose hub runs in the process of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return make_site(
        broker_url=f"sqlite:///{tmp_path}/hub.db", public_channels=["news.*", "news"]
    )


def run(site: Site, *words: str) -> Any:
    return site.app.test_cli_runner().invoke(args=["sse", *words])


def wait_for_worker(site: Site) -> None:
    """Wait until the app's worker answers. It joins beside its first stream."""
    wait_until(lambda: run(site, "top", "--once").exit_code == 0)


def test_streams_are_listed_with_worker_and_user(site: Site) -> None:
    """Options choose some of them."""
    site.browser("alice").stream("/events?channel=news").next("connected")
    site.browser("bob").stream("/events").next("connected")
    wait_for_worker(site)
    lines = run(site, "streams").stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("worker 0 ") for line in lines)
    (line,) = run(site, "streams", "--user", "alice").stdout.splitlines()
    assert "alice" in line
    assert line.endswith("news")
    (line,) = run(site, "streams", "--channel", "news", "--json").stdout.splitlines()
    assert json.loads(line)["user_id"] == "alice"
    assert json.loads(line)["worker"] == 0


def test_a_stream_of_a_pattern_hears_each_of_its_channels(site: Site) -> None:
    """A person looks for the streams of a channel, not for a text."""
    site.browser("alice").stream("/events?channel=news.*").next("connected")
    wait_for_worker(site)
    for name, lines in (("news.eu", 1), ("news.*", 1), ("news", 0), ("newspaper", 0)):
        assert len(run(site, "streams", "--channel", name).stdout.splitlines()) == lines


def test_top_is_a_table_of_the_workers(site: Site) -> None:
    """The last lines are about all of them."""
    site.browser("alice").stream("/events").next("connected")
    wait_for_worker(site)
    head, worker, everybody, counts = run(site, "top", "--once").stdout.splitlines()
    assert head.split()[:4] == ["worker", "pid", "streams", "users"]
    assert worker.split()[2:4] == ["1", "1"]
    assert worker.endswith("ready")
    assert everybody.split()[:2] == ["all", "1"]
    assert counts.startswith("refused: -")


@pytest.mark.parametrize("command", ["streams", "top"])
def test_without_a_worker_the_command_says_so(site: Site, command: str) -> None:
    """Most often it runs as another user."""
    result = run(site, command)
    assert result.exit_code == 1
    assert "as the user of the server" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("command", ["streams", "top"])
def test_memory_is_out_of_reach(make_site: MakeSite, command: str) -> None:
    """No other process sees the server's memory."""
    result = run(make_site(), command)
    assert result.exit_code == 2
    assert "memory://" in result.stderr


def test_disconnect_ends_the_streams_of_a_user(site: Site) -> None:
    """The record is in the log when the command ends."""
    stream = site.browser("alice").stream("/events")
    stream.next("connected")
    # The command closes its broker, so it has a process, or an app, of its own.
    shell = Site(broker_url=site.app.config["SSE_HUB_BROKER_URL"])
    try:
        assert run(shell, "disconnect", "--user", "alice").exit_code == 0
        wait_until(lambda: site.hub.stats().closed == {"disconnected": 1})
    finally:
        shell.close()


def test_disconnect_needs_a_target(site: Site) -> None:
    """Everybody is no default."""
    assert run(site, "disconnect").exit_code == 2


@pytest.mark.parametrize("url", ["shop.example", "ftp://shop.example", ""])
def test_the_doctor_wants_an_address(site: Site, url: str) -> None:
    """A name alone has no scheme."""
    assert run(site, "doctor", url).exit_code == 2


def test_the_doctor_of_memory_needs_no_server(make_site: MakeSite) -> None:
    """Several workers, and this shell, would each have a log of their own."""
    result = run(make_site(), "doctor", "http://127.0.0.1:9", "--json")
    assert result.exit_code == 1
    assert [e["code"] for e in json.loads(result.stdout)["findings"]] == ["memory"]


def test_the_doctor_tells_of_a_broker_that_is_away(make_site: MakeSite) -> None:
    """Nothing at the address is worth a probe. Advice comes last."""
    site = make_site(broker_url="redis://127.0.0.1:1/0", name="app")
    result = run(site, "doctor", "http://127.0.0.1:9", "--json")
    codes = [e["code"] for e in json.loads(result.stdout)["findings"]]
    assert codes == ["unreachable", "broker"]


@pytest.mark.parametrize("text", ["", "x", "W10.x"])
def test_facts_are_only_for_the_doctor(site: Site, text: str) -> None:
    """The pass is signed with the app's key."""
    response = site.browser("alice").get(f"/events/doctor?pass={text}")
    assert response.status_code == 401
