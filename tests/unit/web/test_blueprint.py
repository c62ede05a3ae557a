"""The blueprint: headers, refusals, health and statistics."""

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Response

from flask_sse_hub.brokers import LogBatch, MemoryBroker
from flask_sse_hub.events.record import Cursor
from flask_sse_hub.hub.deafness import DEAF_SECONDS
from flask_sse_hub.testing import Clock, Stream, fresh_hub
from tests.conftest import MakeSite, Site
from tests.kit.reader import wait_until

TOKEN = "a token of some length"


class TestHeaders:
    def test_headers_stop_proxies_from_buffering_and_caching(self, site: Site) -> None:
        """Browsers and proxies need exactly these headers for a stream."""
        response = site.browser("alice").get()
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "private, no-cache, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "Content-Length" not in response.headers
        site.read(response)

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/events", 401),
            ("/events?ticket=forged", 401),
            ("/events/health", 200),
            ("/events/health/live", 200),
            ("/events/stats", 403),
            ("/events/metrics", 403),
        ],
    )
    def test_other_responses_are_never_cached(
        self, site: Site, path: str, status: int
    ) -> None:
        """A cache must not repeat another client's refusal or an old health status."""
        response = site.browser().get(path)
        assert response.status_code == status
        assert response.headers["Cache-Control"] == "private, no-store"

    def test_a_head_request_opens_no_stream(self, site: Site) -> None:
        """The response has the same headers as a stream and no body."""
        browser = site.browser("alice")
        response = browser.client.head("/events")
        assert response.status_code == 200
        assert response.mimetype == "text/event-stream"
        assert response.data == b""
        assert site.hub.stats().connections == 0
        assert site.hub.stats().opened == 0

    def test_close_callbacks_of_the_app_run_when_the_stream_ends(
        self, site: Site
    ) -> None:
        """The callbacks of a stream run like those of any other response."""
        closed: list[str] = []

        @site.app.after_request
        def after(response: Response) -> Response:
            response.call_on_close(lambda: closed.append("closed"))
            return response

        stream = site.browser("alice").stream()
        stream.next("connected")
        closed.clear()
        stream.close()
        assert closed == ["closed"]

    def test_a_hook_that_reads_the_response_fails_instead_of_waiting(
        self, site: Site
    ) -> None:
        """The hook would otherwise wait for the end of an endless stream."""

        @site.app.after_request
        def after(response: Response) -> Response:
            if response.mimetype == "text/event-stream":
                response.get_data()
            return response

        with pytest.raises(RuntimeError, match="make_sequence"):
            site.browser("alice").get()


@pytest.mark.parametrize(
    ("headers", "type"),
    [({}, "reset"), ({"Datastar-Request": "true"}, "datastar-reset")],
)
def test_a_client_of_datastar_receives_a_reset_of_its_own(
    site: Site, headers: dict[str, str], type: str
) -> None:
    """Datastar ignores events whose types do not begin with its name."""
    client = site.browser("alice").client
    with Stream(client=client, headers=headers, last_event_id="no id") as stream:
        stream.next("connected")
        reset = stream.next(type)
        assert (reset.json(), reset.id) == (
            {"reason": "malformed"},
            site.hub.cursor(),
        )


class TestRefusals:
    def test_a_refused_browser_receives_a_stream_with_a_retry_time(
        self, make_site: MakeSite
    ) -> None:
        """A native EventSource never returns after a 429 or 503."""
        site = make_site(max_clients=1)
        site.browser("alice").stream().next("connected")
        response = site.browser("bob").get()
        assert response.status_code == 200
        assert response.mimetype == "text/event-stream"
        assert b"\n\n" not in response.data
        assert 10_000 <= int(response.data.split()[1]) <= 30_000

    @pytest.mark.parametrize(
        ("settings", "status"),
        [
            ({"max_clients": 1}, 503),
            ({"max_clients_per_user": 1, "on_user_limit": "refuse"}, 429),
        ],
    )
    def test_a_client_that_prefers_statuses_receives_one(
        self, make_site: MakeSite, settings: dict[str, Any], status: int
    ) -> None:
        """The client sends "Prefer: sse-status". The response has a Retry-After."""
        site = make_site(**settings)
        site.browser("alice").stream().next("connected")
        response = site.browser("alice").get(headers={"Prefer": "sse-status"})
        assert response.status_code == status
        assert int(response.headers["Retry-After"]) > 0
        assert response.headers["Cache-Control"] == "private, no-store"

    def test_a_stream_of_the_apps_own_view_refuses_the_same_way(
        self, make_site: MakeSite
    ) -> None:
        """The refusal has the same status and is not cached."""
        site = make_site(max_clients=1)
        site.app.get("/mine")(lambda: site.hub.stream())
        site.browser("alice").stream().next("connected")
        response = site.browser("alice").get("/mine", headers={"Prefer": "sse-status"})
        assert response.status_code == 503
        assert response.headers["Cache-Control"] == "private, no-store"

    @pytest.mark.parametrize(
        ("user", "query", "status"),
        [(None, "", 401), ("alice", "?client_id=forged", 400)],
    )
    def test_an_error_in_the_apps_own_view_is_not_cached(
        self, make_site: MakeSite, user: str | None, query: str, status: int
    ) -> None:
        """The app's own error page has the headers too, also those for other sites."""
        origin = "https://app.example"
        site = make_site(cors_origins=[origin])
        site.app.register_error_handler(status, lambda error: ("sorry", status))
        response = site.browser(user).get(
            f"/dashboard/sse{query}", headers={"Origin": origin}
        )
        assert (response.status_code, response.text) == (status, "sorry")
        assert response.headers["Cache-Control"] == "private, no-store"
        assert response.headers["Access-Control-Allow-Origin"] == origin


class TestHealth:
    def test_a_worker_that_can_serve_streams_is_ready(self, site: Site) -> None:
        """The health check needs no login."""
        response = site.browser().get("/events/health")
        assert (response.status_code, response.json) == (200, {"status": "ready"})

    def test_a_worker_whose_broker_is_away_is_live_but_not_ready(
        self, site: Site
    ) -> None:
        """A load balancer sends clients elsewhere; a supervisor does not restart it."""
        site.app.extensions["sse_hub"].hub.broker.head = _away
        browser = site.browser()
        response = browser.get("/events/health")
        assert response.status_code == 503
        assert response.json["reason"] == "the broker cannot be reached"
        assert browser.get("/events/health/live").status_code == 200

    def test_a_new_worker_becomes_ready_without_a_stream(self, site: Site) -> None:
        """A load balancer sends no stream to a worker before it is ready."""
        hub = site.app.extensions["sse_hub"].hub
        assert not hub.ready
        assert site.browser().get("/events/health").status_code == 200
        assert hub.ready

    def test_a_worker_is_not_ready_before_it_follows_the_log(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The head of the log may be readable when its tail is not."""
        monkeypatch.setattr("flask_sse_hub.hub.follower._RETRY_SECONDS", 0.01)
        broker = site.app.extensions["sse_hub"].hub.broker
        browser = site.browser()
        with monkeypatch.context() as patch:
            patch.setattr(broker, "tail", lambda max_bytes: _away())
            response = browser.get("/events/health")
            assert response.status_code == 503
            assert "does not follow the log" in response.json["reason"]
        wait_until(lambda: browser.get("/events/health").status_code == 200)

    def test_a_worker_without_room_for_threads_is_not_ready(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The health check says why this worker serves no streams."""

        def full(*args: object, **options: object) -> None:
            raise RuntimeError("can't start new thread")

        browser = site.browser()
        with monkeypatch.context() as patch:
            patch.setattr("flask_sse_hub.hub.tasks.threading.Thread.start", full)
            response = browser.get("/events/health")
            assert response.status_code == 503
            assert "no room for a thread" in response.json["reason"]
        assert browser.get("/events/health").status_code == 200

    def test_a_worker_that_goes_away_starts_nothing(self, site: Site) -> None:
        """The last health checks of a worker are refused without new threads."""
        hub = site.app.extensions["sse_hub"].hub
        hub.drain()
        assert site.browser().get("/events/health").status_code == 503
        assert not hub.ready

    def test_a_worker_whose_hub_is_broken_is_not_ready(self, site: Site) -> None:
        """The streams of a broken hub look alive but deliver no events."""
        site.app.extensions["sse_hub"].hub.broken = True
        assert site.browser().get("/events/health").status_code == 503

    def test_a_worker_that_hears_nothing_is_not_ready(
        self, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The follower freezes while the log goes on: streams are open and silent."""
        site = make_site()
        clock, thawed, frozen = Clock(), threading.Event(), threading.Event()
        follow = MemoryBroker.follow

        def freezing(broker: MemoryBroker, after: Cursor) -> Iterator[LogBatch]:
            for batch in follow(broker, after):
                if frozen.is_set():
                    thawed.wait()
                yield batch

        monkeypatch.setattr(MemoryBroker, "follow", freezing)
        with fresh_hub(site.app, clock=clock):
            browser = site.browser()
            assert browser.get("/events/health").status_code == 200
            frozen.set()
            site.hub.publish("nobody hears it")
            assert browser.get("/events/health").status_code == 200
            clock.advance(DEAF_SECONDS)
            response = browser.get("/events/health?verbose")
            assert response.status_code == 503
            assert "followed no event for 10 s" in response.json["reason"]
            assert response.json["checks"][-1]["name"] == "hearing"
            thawed.set()
            wait_until(lambda: browser.get("/events/health").status_code == 200)

    def test_verbose_lists_each_check_that_was_made(self, site: Site) -> None:
        """The first check that fails is the last: the next ones need it."""
        browser = site.browser()
        checks = browser.get("/events/health?verbose").json["checks"]
        assert all(check["passed"] for check in checks)
        names = [check["name"] for check in checks]
        site.app.extensions["sse_hub"].hub.broker.head = _away
        checks = browser.get("/events/health?verbose").json["checks"]
        assert [check["passed"] for check in checks] == [True, False]
        assert [check["name"] for check in checks] == names[:2]


def _away() -> None:
    from flask_sse_hub import BrokerUnavailable

    raise BrokerUnavailable("redis://user:password@host is away")


class TestStats:
    def test_statistics_are_refused_by_default(self, site: Site) -> None:
        """The list of users and channels is private."""
        assert site.browser("alice").get("/events/stats").status_code == 403

    @pytest.mark.parametrize(
        ("token", "status"),
        [(TOKEN, 200), (TOKEN + "x", 403), ("", 403), ("é", 403), (None, 403)],
    )
    def test_a_token_gives_access(
        self, make_site: MakeSite, token: str | None, status: int
    ) -> None:
        """A monitoring system has no login."""
        site = make_site(stats_access=TOKEN)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = site.browser().get("/events/stats", headers=headers)
        assert response.status_code == status

    @pytest.mark.parametrize("token", ["name=a token, of=some", "a=b" * 6, "=" * 16])
    def test_a_token_may_have_any_character(
        self, make_site: MakeSite, token: str
    ) -> None:
        """The header's value is one text, not the parameters of other schemes."""
        site = make_site(stats_access=token)
        headers = {"Authorization": f"bearer {token}"}
        response = site.browser().get("/events/stats", headers=headers)
        assert response.status_code == 200

    @pytest.mark.parametrize(("admits", "status"), [(True, 200), (False, 403)])
    def test_a_callable_decides_during_the_request(
        self, make_site: MakeSite, admits: bool, status: int
    ) -> None:
        """The callable may look at the current user, for instance."""
        site = make_site(stats_access=lambda: admits)
        assert site.browser().get("/events/stats").status_code == status

    def test_statistics_are_json_and_list_clients_on_request(
        self, make_site: MakeSite
    ) -> None:
        """The response contains every figure of stats() under its name."""
        site = make_site(stats_access=lambda: True, public_channels=["news"])
        browser = site.browser("alice")
        browser.stream("/events?channel=news").next("connected")
        stats = browser.get("/events/stats").json
        assert stats["connections"] == stats["users"] == 1
        assert stats["channels"] == {"news": 1}
        assert stats["delivery"] == {"generator": 1}
        assert stats["clients"] == []
        assert [each["worker"] for each in stats["workers"]] == [0]
        assert stats["silent"] == []
        (client,) = browser.get("/events/stats?clients").json["clients"]
        assert client["user_id"] == "alice"

    @pytest.mark.parametrize("path", ["stats", "metrics"])
    @pytest.mark.parametrize(
        ("worker", "status"),
        [("0", 200), ("1", 404), ("x", 400), ("", 400), ("²", 400)],
    )
    def test_one_worker_can_be_asked_for(
        self, make_site: MakeSite, path: str, worker: str, status: int
    ) -> None:
        """The numbers are those of the list of workers."""
        site = make_site(stats_access=lambda: True)
        response = site.browser().get(f"/events/{path}?worker={worker}")
        assert response.status_code == status

    def test_metrics_are_for_those_who_may_read_statistics(
        self, make_site: MakeSite
    ) -> None:
        """A scraper sends the same token."""
        site = make_site(stats_access=TOKEN, metrics_channels=["room.*"])
        assert site.browser().get("/events/metrics").status_code == 403
        headers = {"Authorization": f"Bearer {TOKEN}"}
        response = site.browser().get("/events/metrics", headers=headers)
        assert response.status_code == 200
        assert response.mimetype == "text/plain"
        assert 'sse_hub_broker_up{worker="0"} 1.0' in response.text

    def test_metrics_without_their_package_say_what_to_install(
        self, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The endpoint exists, so that nobody looks for a mistyped path."""
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        site = make_site(stats_access=lambda: True)
        response = site.browser().get("/events/metrics")
        assert response.status_code == 501
        assert "flask-sse-hub[metrics]" in response.text


def test_the_prefix_can_be_changed(make_site: MakeSite) -> None:
    """All routes of the blueprint move with the prefix."""
    site = make_site(url_prefix="/push/stream")
    site.browser("alice").stream("/push/stream").next("connected")
    assert site.browser().get("/push/stream/health").status_code == 200
    assert site.browser("alice").get("/events").status_code == 404
