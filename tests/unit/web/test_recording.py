"""``flask sse record``: what a user was sent, as a script for the mock server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_sse_hub.mock.script import read_script
from tests.conftest import MakeSite, Site
from tests.kit.reader import wait_until
from tests.kit.redis_server import RedisServer


@pytest.fixture(params=["sqlite", "redis"])
def site(
    request: pytest.FixtureRequest,
    make_site: MakeSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """An app with a log outside of its process, whose hub runs here."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url = f"sqlite:///{tmp_path}/hub.db"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        url = server.url
    return make_site(
        broker_url=url, name=tmp_path.name, public_channels=["news"], history_events=5
    )


@pytest.fixture
def run(site: Site) -> Iterator[Callable[..., Any]]:
    """Return a function that runs the command, in the place of another process."""
    shell = Site(
        **{
            name.removeprefix("SSE_HUB_"): value
            for name, value in site.app.config.items()
            if name.startswith("SSE_HUB_")
        }
    )
    yield lambda *words: shell.app.test_cli_runner().invoke(
        args=["sse", "record", "--user", "alice", *words]
    )
    shell.close()


def steps(result: Any) -> list[Any]:
    assert result.exit_code == 0, result.output
    read_script(result.stdout)
    return [json.loads(line) for line in result.stdout.splitlines()]


def events(result: Any) -> list[str]:
    return [each["data"] for each in steps(result) if "id" in each]


def is_known(run: Callable[..., Any]) -> bool:
    """Tell whether the machine's workers answer already."""
    return "no stream of user" not in run().stderr


def test_it_writes_what_the_page_was_sent(site: Site, run: Callable[..., Any]) -> None:
    """Events for others are not in it, and data is masked unless it is asked for."""
    stream = site.browser("alice").stream("/events?channel=news")
    stream.next("connected")
    site.hub.publish({"order": "A7"}, type="paid", channel="news")
    site.hub.publish("for bob", user="bob")
    site.hub.publish("for all")
    stream.next("paid")
    stream.next("message")
    wait_until(lambda: is_known(run))
    result = run("--payloads")
    assert events(result) == ['{"order": "A7"}', "for all"]
    assert steps(result)[-1]["data"] == "for all"
    result = run()
    assert events(result) == ['{"order":"x0"}', "xxx xxx"]
    assert "2 events since" in result.stderr
    assert "data is masked" in result.stderr


def test_a_reconnect_is_in_the_script(site: Site, run: Callable[..., Any]) -> None:
    """The page goes on after the events that it had read."""
    alice = site.browser("alice")
    first = alice.stream("/events")
    first.next("connected")
    site.hub.publish("1", user="alice")
    event_id = first.next("message").id
    first.close()
    site.hub.publish("2", user="alice")
    alice.stream("/events", headers={"Last-Event-ID": event_id}).next("message")
    wait_until(lambda: is_known(run) and len(events(run("--payloads"))) == 2)
    found = [
        next(iter(each)) for each in steps(run("--payloads")) if "wait" not in each
    ]
    assert found == ["data", "comment", "drop", "data"]


def test_one_page_of_several_is_recorded(site: Site, run: Callable[..., Any]) -> None:
    """The newest one. The others are named."""
    alice = site.browser("alice")
    early = json.loads(alice.stream("/events").next("connected").data)["client_id"]
    alice.stream("/events?channel=news").next("connected")
    site.hub.publish("x", channel="news")
    wait_until(lambda: is_known(run) and "x" in run("--payloads").stdout)
    assert f"another page: --client {early}" in run().stderr
    other = run("--client", early)
    assert other.exit_code == 1
    assert "user alice was sent nothing in 5 minutes" in other.stderr
    unknown = run("--client", "nobody")
    assert unknown.exit_code == 2
    assert "no stream of the client 'nobody'" in unknown.stderr


def test_without_a_known_stream_it_takes_what_the_user_could_hear(
    site: Site, run: Callable[..., Any]
) -> None:
    """Workers that were restarted have forgotten the streams."""
    site.hub.publish("for alice", user="alice")
    site.hub.publish("news", channel="news")
    result = run("--payloads")
    assert events(result) == ["for alice"]
    assert "no stream of user alice is known here" in result.stderr
    assert events(run("--payloads", "--channel", "news")) == ["for alice", "news"]
    assert run("--channel", "").exit_code == 2


def test_it_says_that_the_log_has_not_everything(
    site: Site, run: Callable[..., Any]
) -> None:
    """The page was sent more events than history keeps."""
    stream = site.browser("alice").stream("/events")
    stream.next("connected")
    for number in range(8):
        site.hub.publish(str(number), user="alice")
        # A worker that is behind would find the log trimmed.
        stream.data(1)
    wait_until(lambda: is_known(run) and len(events(run())) == 5)
    result = run("--payloads")
    assert events(result) == ["3", "4", "5", "6", "7"]
    assert "the log does not have all events of this page any more" in result.stderr
    assert "it begins" in result.stderr


def test_a_log_within_the_server_cannot_be_read(make_site: MakeSite) -> None:
    """The command is another process."""
    site = make_site()
    result = site.app.test_cli_runner().invoke(
        args=["sse", "record", "--user", "alice"]
    )
    assert result.exit_code == 2
    assert "memory://" in result.stderr
