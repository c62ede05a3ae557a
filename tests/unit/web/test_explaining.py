"""``flask sse explain``: why an event did, or did not, arrive at a user."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeSite, Site
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer


@pytest.fixture
def site(make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An app with a log in a file, whose hub runs in the process of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    site = make_site(
        broker_url=f"sqlite:///{tmp_path}/hub.db", public_channels=["news", "news.*"]
    )
    site.browser("bob").stream("/events").next("connected")
    wait_until(
        lambda: (
            site.app.test_cli_runner().invoke(args=["sse", "top", "--once"]).exit_code
            == 0
        )
    )
    return site


@pytest.fixture
def run(site: Site) -> Iterator[Callable[..., Any]]:
    """Return a function that runs the command, in the place of another process."""
    shell = Site(
        broker_url=site.app.config["SSE_HUB_BROKER_URL"],
        public_channels=["news", "news.*"],
    )
    yield lambda *words: shell.app.test_cli_runner().invoke(
        args=["sse", "explain", *words]
    )
    shell.close()


def test_an_event_is_found_in_redis(
    make_site: MakeSite, redis_server: RedisServer
) -> None:
    """Redis knows no place right before an event's own, from which to read it."""
    site = make_site(broker_url=redis_server.url, name="explained")
    event_id = site.hub.publish("hi", user="bob")
    result = site.app.test_cli_runner().invoke(
        args=["sse", "explain", event_id, "--user", "alice"]
    )
    assert "=> the event was not for user alice" in result.stdout


def explained(run: Callable[..., Any], event_id: str, user: str = "alice") -> Any:
    result = run(event_id, "--user", user, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def outcomes(found: Any) -> list[str]:
    return [each["outcome"] for each in found["streams"]]


def test_it_names_each_stream_of_the_user(site: Site, run: Callable[..., Any]) -> None:
    """One was written to, one listens to another channel, and one came later."""
    news = site.browser("alice").stream("/events?channel=news")
    news.next("connected")
    site.browser("alice").stream("/events").next("connected")
    all_news = site.browser("alice").stream("/events?channel=news.*")
    all_news.next("connected")
    event_id = site.hub.publish("hi", channel=["news", "news.eu"])
    news.next("message")
    all_news.next("message")
    site.browser("alice").stream("/events?channel=news").next("connected")
    expected = ["written", "not_listening", "written", "not_open"]
    wait_until(lambda: outcomes(explained(run, event_id)) == expected)
    found = explained(run, event_id)
    assert found["addressed"]
    assert found["targets"] == ["channel=news", "channel=news.eu"]
    assert set(found["channels"].values()) == {"open to the user"}
    assert found["conclusion"].startswith("the event was written")


def test_a_stream_that_ended_before_is_remembered(
    site: Site, run: Callable[..., Any]
) -> None:
    """With its close reason: the page was closed, or a proxy cut it."""
    stream = site.browser("alice").stream("/events")
    stream.next("connected")
    stream.close()
    wait_until(lambda: site.hub.stats().connections == 1)
    event_id = site.hub.publish("hi", user="alice")
    found = explained(run, event_id)
    assert outcomes(found) == ["ended"]
    assert "client_gone" in found["streams"][0]["text"]
    assert "no stream of user alice was open" in found["conclusion"]
    # A page that comes back tells what it had received from a worker that is gone.
    back = site.browser("alice").stream(f"/events?last_event_id={event_id}")
    back.next("connected")
    assert outcomes(explained(run, event_id)) == ["ended", "read"]


def test_an_event_of_somebody_else_is_told(site: Site, run: Callable[..., Any]) -> None:
    """Most often the app published to another user."""
    site.browser("alice").stream("/events").next("connected")
    found = explained(run, site.hub.publish("hi", user="bob"))
    assert not found["addressed"]
    assert "was not for user alice" in found["conclusion"]


def test_a_channel_that_is_closed_to_the_user_is_told(
    site: Site, run: Callable[..., Any]
) -> None:
    """The page was refused, or did not ask."""
    found = explained(run, site.hub.publish("hi", channel="secret"))
    assert found["channels"] == {"secret": "not open to the user"}


def test_people_read_lines(site: Site, run: Callable[..., Any]) -> None:
    """The last line is the answer."""
    site.browser("alice").stream("/events").next("connected")
    event_id = site.hub.publish("hi", user="alice", type="order")

    def printed() -> list[str]:
        found: list[str] = run(event_id, "--user", "alice").stdout.splitlines()
        return found

    wait_until(lambda: printed()[-1].startswith("=> the event was written"))
    lines = printed()
    assert lines[0] == f"event {event_id} (order)"
    assert lines[1].endswith("to user=alice")
    assert lines[2].startswith("worker 0  stream ")


@pytest.mark.parametrize(
    ("event_id", "status"), [("nonsense", 2), ("abc-0", 2), ("abc-7", 1)]
)
def test_an_id_of_no_event_is_refused(
    run: Callable[..., Any], event_id: str, status: int
) -> None:
    """Its history may be over."""
    result = run(event_id, "--user", "alice")
    assert result.exit_code == status
    assert event_id in result.stderr


def test_memory_is_out_of_reach(make_site: MakeSite) -> None:
    """No other process sees the server's memory."""
    result = (
        make_site()
        .app.test_cli_runner()
        .invoke(args=["sse", "explain", "abc-1", "--user", "alice"])
    )
    assert result.exit_code == 2
    assert "memory://" in result.stderr
