"""The extension: the methods that an app calls, and the requests of its users."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, stream_template_string
from flask_login import current_user

from flask_sse_hub import (
    BrokerUnavailable,
    ClientStats,
    CloseReason,
    ConfigurationError,
    Event,
    EventTooLarge,
    InvalidEvent,
    InvalidMetadata,
    InvalidName,
    InvalidTarget,
    SSEHub,
    client_connected,
    client_disconnected,
    event_published,
)
from flask_sse_hub.brokers.sqlite import SQLiteBroker
from flask_sse_hub.events.record import Cursor, Record
from tests.conftest import MakeSite, Site
from tests.kit.hand import KEEP_ALL, fields
from tests.kit.reader import wait_until


class TestInit:
    def test_a_second_init_app_is_refused(self, site: Site) -> None:
        """Two hubs in one app would each serve a part of the clients."""
        with pytest.raises(ConfigurationError, match="already has an SSEHub"):
            SSEHub(site.app)

    def test_creating_the_extension_starts_no_thread(self) -> None:
        """A master process that only loads the app can fork safely."""
        before = set(threading.enumerate())
        app = Flask("quiet")
        SSEHub(app)
        assert set(threading.enumerate()) <= before
        state = app.extensions["sse_hub"]
        assert state._desks.pop() is None

    def test_one_extension_object_serves_several_apps(
        self, make_site: MakeSite
    ) -> None:
        """Each app has a hub of its own, so two apps in one process stay separate."""
        one, two = make_site(), make_site()
        shared = SSEHub()
        apps = [Flask("a"), Flask("b")]
        for app in apps:
            app.config["SSE_HUB_LOGIN_REQUIRED"] = False
            app.config["SSE_HUB_BROKER_URL"] = "memory://"
            shared.init_app(app)
        ann, ben = one.browser("alice").stream(), two.browser("alice").stream()
        ann.next("connected")
        ben.next("connected")
        one.hub.publish("for one")
        two.hub.publish("for two")
        assert ann.data(1) == ["for one"]
        assert ben.data(1) == ["for two"]
        with apps[0].app_context():
            first = shared.publish("a")
        with apps[1].app_context():
            second = shared.publish("b")
        assert first.split("-")[0] != second.split("-")[0]

    def test_without_a_context_the_app_must_be_unambiguous(self) -> None:
        """A single app is used. With none or several, the error names the fix."""
        hub = SSEHub()
        with pytest.raises(ConfigurationError, match="init_app"):
            hub.publish("x")
        apps = [Flask("a"), Flask("b")]
        apps[0].config["SSE_HUB_BROKER_URL"] = "memory://"
        hub.init_app(apps[0])
        assert hub.publish("x")
        hub.init_app(apps[1])
        with pytest.raises(ConfigurationError, match="app_context"):
            hub.publish("x")

    def test_an_app_without_a_hub_raises_a_clear_error(self) -> None:
        """The error names the call that is missing."""
        hub = SSEHub()
        with (
            Flask("bare").app_context(),
            pytest.raises(ConfigurationError, match="init_app"),
        ):
            hub.publish("x")

    def test_publishing_in_the_context_of_another_app_is_refused(
        self, make_site: MakeSite
    ) -> None:
        """User 42 of the other app is another person."""
        one, two = make_site(), make_site()
        with (
            two.app.app_context(),
            pytest.raises(ConfigurationError, match="does not serve"),
        ):
            one.hub.publish("x", user=42)

    def test_a_forked_child_creates_its_own_hub(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The child uses neither the threads nor the locks of its parent."""
        state = site.app.extensions["sse_hub"]
        mine = state.hub
        assert state.hub is mine
        child = os.getpid() + 1
        with monkeypatch.context() as forked:
            forked.setattr(os, "getpid", lambda: child)
            assert state.hub is not mine
        assert state.hub is mine


class TestPublish:
    def test_data_may_be_text_bytes_or_json(self, site: Site) -> None:
        """Text is sent unchanged; other values go through the app's JSON provider."""
        stream = site.browser("alice").stream()
        for data in ("text", b"bytes", {"a": [1, None]}, 7, None, ""):
            site.hub.publish(data)
        assert stream.data(6) == ["text", "bytes", '{"a": [1, null]}', "7", "null", ""]

    def test_each_target_reaches_only_its_own_clients(self, site: Site) -> None:
        """User A never receives an event for user B."""
        ann, ben = site.browser("alice"), site.browser("bob")
        page = ann.page()
        ann_stream = ann.stream(f"/events?channel=news&client_id={page['client']}")
        ben_stream = ben.stream()
        ann_stream.next("connected")
        ben_stream.next("connected")
        publish = site.hub.publish
        publish("user", user="alice")
        publish("users", user=["alice", "nobody"])
        publish("session", session=page["session"])
        publish("client", client=page["client"])
        publish("channel", channel="news")
        publish("not alice", user="bob")
        publish("all but one", exclude_client=page["client"])
        publish("nobody", user=[])
        publish("everybody")
        assert ann_stream.data(6) == [
            *["user", "users", "session", "client", "channel", "everybody"]
        ]
        assert ben_stream.data(3) == ["not alice", "all but one", "everybody"]

    def test_type_and_retry_reach_the_client(self, site: Site) -> None:
        """Type and retry are sent as the fields that EventSource knows."""
        stream = site.browser("alice").stream()
        event_id = site.hub.publish("x", type="note", retry=1.5)
        event = stream.next("note")
        assert event.id == event_id
        assert stream.parser.retry_ms == 1500

    def test_an_event_object_keeps_its_type_and_retry(self, site: Site) -> None:
        """A function may return an Event, which is then published as it is."""
        stream = site.browser("alice").stream()
        event_id = site.hub.publish(Event("x", type="note", retry=1.5), user="alice")
        event = stream.next("note")
        assert (event.id, event.data) == (event_id, "x")
        assert stream.parser.retry_ms == 1500

    @pytest.mark.parametrize("beside", [{"type": "message"}, {"retry": 1.5}], ids=str)
    def test_an_event_object_refuses_a_second_type_or_retry(
        self, site: Site, beside: dict[str, Any]
    ) -> None:
        """With two values it would be unclear which one is meant."""
        with pytest.raises(InvalidEvent, match="its own type and retry"):
            site.hub.publish(Event("x"), **beside)

    def test_an_idempotency_key_publishes_once(self, site: Site) -> None:
        """The second call returns the id of the first event."""
        first = site.hub.publish("x", idempotency_key="k")
        assert site.hub.publish("x", idempotency_key="k") == first

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"user": None}, InvalidTarget),
            ({"user": {"a": 1}}, InvalidTarget),
            ({"channel": "a\nb"}, InvalidName),
            ({"type": "a\r\nid: 1"}, InvalidName),
            ({"type": "error"}, InvalidName),
            ({"exclude_client": True}, InvalidName),
            ({"idempotency_key": "a\0"}, InvalidName),
            ({"retry": -1}, InvalidEvent),
            ({"data": b"\xff"}, InvalidEvent),
            ({"data": object()}, InvalidEvent),
            ({"data": "x" * 1_048_577}, EventTooLarge),
            ({"data": Event("x" * 1_048_577)}, EventTooLarge),
            ({"type": None}, InvalidName),
        ],
        ids=str,
    )
    def test_an_invalid_publish_raises_and_appends_nothing(
        self, site: Site, arguments: dict[str, Any], error: type[Exception]
    ) -> None:
        """All errors are the package's own."""
        before = site.hub.cursor()
        with pytest.raises(error):
            site.hub.publish(**({"data": "x"} | arguments))
        assert site.hub.cursor() == before

    def test_publish_works_in_a_plain_thread(self, site: Site) -> None:
        """A background job publishes without an app context."""
        stream = site.browser("alice").stream()
        stream.next("connected")
        worker = threading.Thread(target=site.hub.publish, args=("from a thread",))
        worker.start()
        worker.join()
        assert stream.data(1) == ["from a thread"]

    def test_the_memory_broker_refuses_a_server_of_several_processes(
        self, site: Site
    ) -> None:
        """Without the error, most clients would never receive the events."""

        @site.app.get("/publish")
        def publish() -> str:
            return site.hub.publish("x")

        browser = site.browser("alice")
        for url in ("/publish", "/events"):
            with pytest.raises(ConfigurationError, match="keeps events within one"):
                browser.get(url, multiprocess=True)
        health = browser.get("/events/health", multiprocess=True)
        assert health.status_code == 503
        assert "keeps events within one" in health.json["reason"]


class TestStream:
    def test_a_view_can_choose_the_channels(self, site: Site) -> None:
        """The view decides about access. Personal addresses are included."""
        stream = site.browser("alice").stream("/dashboard/sse")
        assert fields(stream.next("connected"))["channels"] == ["dashboard"]
        site.hub.publish("figures", channel="dashboard")
        site.hub.publish("mine", user="alice")
        assert stream.data(2) == ["figures", "mine"]

    def test_personal_addresses_can_be_left_out(self, site: Site) -> None:
        """A public screen shows no event for the user who turned it on."""

        @site.app.get("/screen")
        def screen() -> Any:
            return site.hub.stream("dashboard", personal=False)

        stream = site.browser("alice").stream("/screen")
        stream.next("connected")
        site.hub.publish("everybody")
        site.hub.publish("mine", user="alice")
        site.hub.publish("figures", channel="dashboard")
        assert stream.data(1) == ["figures"]

    def test_an_invalid_channel_name_in_a_view_raises(self, site: Site) -> None:
        """The mistake is the view's, so the browser does not receive a 400."""

        @site.app.get("/mistake")
        def mistake() -> Any:
            return site.hub.stream("a\nb")

        with pytest.raises(InvalidName):
            site.browser("alice").get("/mistake")

    def test_metadata_is_in_statistics_and_signals(self, site: Site) -> None:
        """An operator can see which page each client has open."""

        @site.hub.describe_client
        def describe() -> dict[str, str]:
            return {"page": "inbox"}

        seen: list[ClientStats] = []
        with client_connected.connected_to(
            lambda _, client: seen.append(client), sender=site.app
        ):
            site.browser("alice").stream().next("connected")
        (client,) = site.hub.stats(clients=True).clients
        assert client.metadata == seen[0].metadata == {"page": "inbox"}

    @pytest.mark.parametrize(
        "metadata",
        [
            ["page"],
            {"page": []},
            {7: 1},
            {"x" * 300: 1},
            {str(n): n for n in range(17)},
        ],
        ids=["list", "nested", "name", "long name", "many"],
    )
    def test_metadata_must_be_a_small_dict(self, site: Site, metadata: Any) -> None:
        """Metadata is held in memory for each client and shown to people."""
        site.hub.describe_client(lambda: metadata)
        with pytest.raises(InvalidMetadata):
            site.browser("alice").get()

    @pytest.mark.parametrize("view", [False, True], ids=["blueprint", "view"])
    def test_a_long_value_of_metadata_is_cut(
        self, site: Site, caplog: pytest.LogCaptureFixture, view: bool
    ) -> None:
        """The visitor has sent it, and must not receive a 500 for it."""
        given: dict[str, str | float] = {
            "agent": "x" * 300,
            "size": 10**5000,
            "page": "inbox",
            "n": 1.5,
        }
        site.hub.describe_client(lambda: given)
        site.app.get("/mine")(lambda: site.hub.stream(metadata=given))
        for _ in range(2):
            url = "/mine" if view else "/events"
            site.browser("alice").stream(url).next("connected")
        kept = site.hub.stats(clients=True).clients[0].metadata
        assert kept["agent"] == "x" * 256
        assert len(str(kept["size"])) == 256
        assert (kept["page"], kept["n"]) == ("inbox", 1.5)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "x" * 50 not in caplog.text

    def test_a_stranger_is_not_described(self, site: Site) -> None:
        """A function that needs a user must not turn a 401 into a 500."""
        called: list[str] = []

        @site.hub.describe_client
        def describe() -> dict[str, str]:
            called.append("called")
            return {}

        assert site.browser().get().status_code == 401
        assert site.browser().get("/events?ticket=forged").status_code == 401
        url = "/events?channel=closed"
        assert site.browser("alice").get(url).status_code == 403
        assert called == []

    def test_a_page_that_takes_the_cursor_first_misses_no_event(
        self, site: Site
    ) -> None:
        """Events between rendering and connecting are delivered."""
        cursor = site.hub.cursor()
        site.hub.publish("in between")
        stream = site.browser("alice").stream(f"/events?last_event_id={cursor}")
        assert stream.data(1) == ["in between"]

    def test_the_last_event_id_header_overrides_the_url(self, site: Site) -> None:
        """A browser reconnects to the same URL with a newer id in the header."""
        first = site.hub.cursor()
        second = site.hub.publish("seen")
        site.hub.publish("not seen")
        stream = site.browser("alice").stream(
            f"/events?last_event_id={first}", headers={"Last-Event-ID": second}
        )
        assert stream.data(1) == ["not seen"]

    def test_an_empty_last_event_id_is_ignored(self, site: Site) -> None:
        """A template without a cursor writes an empty id."""
        stream = site.browser("alice").stream("/events?last_event_id=")
        assert fields(stream.next())["resumed"] is False
        site.hub.publish("x")
        assert stream.next().type == "message"


class TestSignals:
    def test_a_disconnect_sends_a_signal(self, site: Site) -> None:
        """The signal has the client's statistics and the close reason."""
        told: list[tuple[ClientStats, CloseReason]] = []
        with client_disconnected.connected_to(
            lambda _, client, reason: told.append((client, reason)), sender=site.app
        ):
            stream = site.browser("alice").stream()
            stream.next("connected")
            stream.close()
        ((client, reason),) = told
        assert client.user_id == "alice"
        assert reason is CloseReason.CLIENT_GONE

    def test_a_publish_sends_a_signal(self, site: Site) -> None:
        """The signal has the id that the event has in the log."""
        told: list[tuple[str, str]] = []
        with event_published.connected_to(
            lambda _, event, event_id: told.append((event.data, event_id)),
            sender=site.app,
        ):
            event_id = site.hub.publish("x")
        assert told == [("x", event_id)]

    def test_a_failing_receiver_does_not_undo_a_publish(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A caller that sees an error would publish the event again."""

        def fail(_: object, **__: object) -> None:
            raise RuntimeError("a bug in the app")

        with event_published.connected_to(fail, sender=site.app):
            assert site.hub.publish("x") == site.hub.cursor()
        assert "a bug in the app" in caplog.text


class TestScripts:
    """Publishing from a process that serves no streams."""

    def test_a_script_on_the_memory_broker_is_warned_once(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The script's events reach no page, and nothing else would show that."""
        for _ in range(2):
            site.hub.publish("x")
        assert caplog.text.count("which serves no stream") == 1

    def test_a_draining_worker_warns_of_events_that_reach_no_client(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A request in progress may publish after the clients have left."""
        site.hub.drain()
        site.hub.publish("x")
        assert (
            "going away: with memory:// no client receives it any more" in caplog.text
        )


class TestDisconnect:
    def test_disconnect_ends_the_streams_of_a_user(self, site: Site) -> None:
        """The streams of other users stay open."""
        ann, ben = site.browser("alice").stream(), site.browser("bob").stream()
        ann.next("connected")
        ben.next("connected")
        site.hub.disconnect(user="alice")
        ann.wait_for_end()
        site.hub.publish("still here")
        assert ben.data(1) == ["still here"]
        wait_until(lambda: site.hub.stats().closed == {"disconnected": 1})

    def test_the_current_user_is_a_target(self, site: Site) -> None:
        """A view need not know by which of a user's ids streams are known."""

        @site.app.post("/greet")
        def greet() -> str:
            return site.hub.publish("hello", user=current_user)

        @site.app.post("/leave")
        def leave() -> str:
            site.hub.disconnect(user=current_user)
            return "left"

        browser = site.browser("alice")
        stream = browser.stream()
        stream.next("connected")
        browser.client.post("/greet")
        assert stream.data(1) == ["hello"]
        browser.client.post("/leave")
        stream.wait_for_end()

    def test_outside_a_request_it_is_in_the_log_when_the_call_returns(
        self, tmp_path: Path
    ) -> None:
        """A script may end right after the call, and its threads with it."""
        path = tmp_path / "hub.db"
        subprocess.run([sys.executable, "-c", SCRIPT, f"sqlite:///{path}"], check=True)
        broker = SQLiteBroker(path, KEEP_ALL)
        assert broker.head().offset == 1
        broker.close()

    def test_outside_a_request_it_raises_while_the_broker_is_away(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Success is returned only for what is in the log."""
        broker = site.app.extensions["sse_hub"].broker
        monkeypatch.setattr(broker, "publish", away)
        with pytest.raises(BrokerUnavailable):
            site.hub.disconnect(user="alice")

    def test_in_a_request_it_does_not_wait_for_the_broker(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is tried again in the background."""

        @site.app.post("/lock/<name>")
        def lock(name: str) -> str:
            site.hub.disconnect(user=name)
            return "locked"

        broker = site.app.extensions["sse_hub"].broker
        publish: Callable[[Record], Cursor] = broker.publish
        tried = threading.Event()
        back = threading.Event()

        def hang(record: Record) -> Cursor:
            tried.set()
            assert back.wait(30.0)
            return publish(record)

        monkeypatch.setattr(broker, "publish", hang)
        assert site.browser().client.post("/lock/alice").text == "locked"
        assert tried.wait(30.0)
        back.set()
        wait_until(lambda: broker.head().offset == 1)

    def test_a_script_on_the_memory_broker_is_warned(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its disconnect() ends no stream, since no stream is in its process."""
        site.hub.disconnect(user="alice")
        assert "disconnect() ends no stream" in caplog.text

    def test_disconnect_needs_a_target(self, site: Site) -> None:
        """A forgotten argument does not end the streams of all users."""
        with pytest.raises(InvalidTarget, match="pass user="):
            site.hub.disconnect()
        with pytest.raises(InvalidTarget):
            site.hub.disconnect(user=None)  # type: ignore[arg-type]


def away(record: Record) -> Cursor:
    raise BrokerUnavailable("away")


# Ends streams of a user as the last thing that its process does.
SCRIPT = """
import sys
from flask import Flask
from flask_sse_hub import SSEHub
app = Flask("script")
app.config.update(SECRET_KEY="k", SSE_HUB_BROKER_URL=sys.argv[1])
hub = SSEHub(app)
with app.app_context():
    hub.disconnect(user="alice")
"""


def test_drain_ends_all_streams(site: Site) -> None:
    """Call drain() on servers that do not announce that they stop."""
    stream = site.browser("alice").stream()
    stream.next("connected")
    site.hub.drain()
    stream.wait_for_end()
    assert site.hub.stats().draining
    assert site.browser("alice").get("/events/health").status_code == 503


def test_templates_can_use_the_hub(site: Site) -> None:
    """A page knows its client id before the stream is opened."""

    @site.app.get("/template")
    def template() -> Any:
        return stream_template_string("{{ sse_hub.client_id() }}")

    assert len(site.browser().get("/template").text) > 20
