"""The console: its access, its pages of streams, its log, its actions."""

import json
import logging
import threading
from typing import Any

import pytest
from flask_wtf import CSRFProtect

from flask_sse_hub import BrokerUnavailable
from tests.conftest import MakeSite, Site
from tests.kit.reader import wait_until

TOKEN = "a-token-for-people-on-call"
ACTS = {"X-SSE-Hub-Console": "1"}
HOSTILE = "<img src=x onerror=alert(1)>"

READS = ["", "/console.js", "/console.css", "/figures", "/streams", "/log", "/people"]
ACTIONS = ["/close", "/test", "/publish"]


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app that admits everybody to its console."""
    return make_site(stats_access=lambda: True, public_channels=["*"])


def get(site: Site, path: str, user: str | None = None, **options: Any) -> Any:
    return site.browser(user).get(f"/events/console{path}", **options)


def act(site: Site, path: str, body: Any, **headers: str) -> Any:
    client = site.browser("admin").client
    return client.post(
        f"/events/console/{path}", json=body, headers={**ACTS, **headers}
    )


class TestAccess:
    @pytest.mark.parametrize("path", READS)
    def test_everything_is_refused_by_default(
        self, make_site: MakeSite, path: str
    ) -> None:
        """The console does not exist for anybody until access is configured."""
        site = make_site()
        refused = get(site, path, "alice")
        assert refused.status_code == 403
        assert "SSE_HUB_STATS_ACCESS" in refused.text

    @pytest.mark.parametrize("path", ACTIONS)
    def test_actions_are_refused_by_default(
        self, make_site: MakeSite, path: str
    ) -> None:
        """A header alone admits nobody."""
        client = make_site().browser("alice").client
        answer = client.post(f"/events/console{path}", json={}, headers=ACTS)
        assert answer.status_code == 403

    @pytest.mark.parametrize("path", READS)
    def test_a_token_admits_as_it_does_to_the_statistics(
        self, make_site: MakeSite, path: str
    ) -> None:
        """A program or a proxy sends it."""
        site = make_site(stats_access=TOKEN)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert get(site, path).status_code == 403
        assert get(site, path, headers=headers).status_code == 200

    @pytest.mark.parametrize("path", READS[3:])
    @pytest.mark.parametrize(
        "headers",
        [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
        ids=str,
    )
    def test_pages_of_other_origins_read_nothing(
        self, make_site: MakeSite, path: str, headers: dict[str, str]
    ) -> None:
        """An origin that may open streams is no exception."""
        site = make_site(
            stats_access=lambda: True, cors_origins=["https://evil.example"]
        )
        assert get(site, path, headers=headers).status_code == 403

    def test_a_link_of_another_site_leads_to_the_page(self, site: Site) -> None:
        """An alert has one. The page itself has no data."""
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert get(site, "", headers=headers).status_code == 200

    def test_the_page_runs_the_scripts_of_the_hub_alone(self, site: Site) -> None:
        """It has no inline script or style, and no other page may frame it."""
        page = get(site, "")
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.text.count("<script") == 1
        assert "<style" not in page.text
        assert " style=" not in page.text
        assert page.headers["X-Content-Type-Options"] == "nosniff"

    def test_a_file_that_has_not_changed_is_not_sent_again(self, site: Site) -> None:
        """The browser asks each time, because a new version may be there."""
        first = get(site, "/console.js")
        again = get(
            site, "/console.js", headers={"If-None-Match": first.headers["ETag"]}
        )
        assert (first.status_code, again.status_code) == (200, 304)
        assert first.headers["Cache-Control"] == "private, no-cache"


class TestFigures:
    def test_they_are_those_of_the_statistics_and_the_health(self, site: Site) -> None:
        """Only the busiest channels are named, however many there are."""
        browser = site.browser("alice")
        query = "&".join(f"channel=room.{number}" for number in range(12))
        browser.stream(f"/events?{query}").next("connected")
        browser.stream("/events?channel=room.7").next("connected")
        found = get(site, "/figures").json
        assert found["connections"] == 2
        assert found["channels"][0] == ["room.7", 2]
        assert len(found["channels"]) == 10
        assert found["more_channels"] == 2
        assert found["health"]["status"] == "ready"
        assert found["health"]["checks"][-1]["name"] == "hearing"
        (worker,) = found["workers"]
        assert worker["broker_up"]
        assert worker["users"] == 1


class TestStreams:
    def test_streams_are_searched_sorted_and_paged(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer has one page, and the count of all."""
        monkeypatch.setattr("flask_sse_hub.web.console._STREAMS_PER_PAGE", 2)
        for user in ("carol", "alice", "bob"):
            browser = site.browser(user)
            browser.stream(f"/events?channel=of.{user}").next("connected")
        first = get(site, "/streams?order=user").json
        assert [each["user_id"] for each in first["streams"]] == ["alice", "bob"]
        assert (first["count"], first["page"], first["pages"]) == (3, 0, 2)
        last = get(site, "/streams?order=user&page=1").json
        assert [each["user_id"] for each in last["streams"]] == ["carol"]
        (found,) = get(site, "/streams?text=OF.BO").json["streams"]
        assert found["user_id"] == "bob"
        assert found["delivery"] == "generator"
        assert found["worker"] == 0
        assert found["lag"] == found["lag_events"] == 0
        assert get(site, "/streams?text=nobody&page=7").json["count"] == 0

    @pytest.mark.parametrize(
        "query",
        [
            *("page=-1", "page=x", "page=²", "page=1234567"),
            *("order=password", "order=", f"text={'x' * 101}"),
        ],
    )
    def test_hostile_queries_are_refused(self, site: Site, query: str) -> None:
        """The text of the error cuts what was sent."""
        answer = get(site, f"/streams?{query}")
        assert answer.status_code == 400
        assert len(answer.text) < 150

    def test_hostile_names_arrive_as_text(self, site: Site) -> None:
        """No browser takes JSON for a page, and the script sets no markup."""
        browser = site.browser()
        browser.login("%3Cimg%20src=x%20onerror=alert(1)%3E")
        browser.stream("/events", query_string={"channel": HOSTILE}).next("connected")
        answer = get(site, "/streams")
        assert answer.mimetype == "application/json"
        (stream,) = answer.json["streams"]
        assert stream["channels"] == [HOSTILE]
        assert stream["user_id"] == HOSTILE
        script = get(site, "/console.js").text
        # One template without any value.
        assert script.count("innerHTML") == 1
        assert "insertAdjacentHTML" not in script


class TestLog:
    def test_the_newest_event_is_the_first(self, site: Site) -> None:
        """Without the setting, the data's size is shown and the data is not."""
        with site.app.app_context():
            site.hub.publish("secret", channel="news", type="story")
            site.hub.publish("é", user="alice")
            last = site.hub.publish("all")
        found = get(site, "/log").json
        assert [each["targets"] for each in found["events"]] == [
            ["everyone"],
            ["user=alice"],
            ["channel=news"],
        ]
        assert [each["bytes"] for each in found["events"]] == [3, 2, 6]
        assert found["cursor"] == last
        assert not found["payloads"]
        assert "secret" not in json.dumps(found)

    def test_an_event_for_nobody_is_shown(self, site: Site) -> None:
        """The app's list of users was empty, which may be the fault that is sought."""
        with site.app.app_context():
            site.hub.publish("lost", user=[])
        (event,) = get(site, "/log").json["events"]
        assert event["targets"] == ["nobody"]

    def test_the_data_is_shown_where_the_setting_says_so(
        self, make_site: MakeSite
    ) -> None:
        """Only its beginning is."""
        site = make_site(stats_access=lambda: True, console_payloads=True)
        with site.app.app_context():
            site.hub.publish("x" * 1000)
        (event,) = get(site, "/log").json["events"]
        assert event["data"] == "x" * 200
        assert event["bytes"] == 1000

    def test_events_are_filtered_and_followed(self, site: Site) -> None:
        """A cursor brings only what came after it, also past events of no interest."""
        with site.app.app_context():
            site.hub.publish("a", channel="news", type="story")
            site.hub.publish("b", channel="sport", type="story")
            found = get(site, "/log?target=CHANNEL=ne&type=STO").json
            assert [each["targets"] for each in found["events"]] == [["channel=news"]]
            after = found["cursor"]
            assert get(site, f"/log?after={after}").json["events"] == []
            site.hub.publish("c", type="price")
        later = get(site, f"/log?after={after}&type=price").json
        assert [each["type"] for each in later["events"]] == ["price"]
        assert not later["skipped"]

    def test_a_disconnect_is_shown_with_its_reason(self, site: Site) -> None:
        """It explains why streams ended."""
        with site.app.app_context():
            site.hub.disconnect(user="alice")
        wait_until(
            lambda: (
                [each["type"] for each in get(site, "/log").json["events"]]
                == ["(disconnected)"]
            )
        )

    def test_an_event_for_many_names_a_few(self, site: Site) -> None:
        """Ten thousand names would be no help."""
        with site.app.app_context():
            site.hub.publish("a", user=[f"u{number}" for number in range(9)])
        (event,) = get(site, "/log?target=u8").json["events"]
        assert len(event["targets"]) == 5
        assert event["more_targets"] == 4

    def test_events_that_are_gone_or_too_many_are_passed_over(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer says so, and goes on at the end of the log."""
        monkeypatch.setattr("flask_sse_hub.web.log_tail._PAGE", 1)
        monkeypatch.setattr("flask_sse_hub.web.log_tail._PAGES", 3)
        with site.app.app_context():
            ids = [site.hub.publish(str(number)) for number in range(5)]
        found = get(site, f"/log?after={ids[0]}").json
        assert found["skipped"]
        assert found["cursor"] == ids[-1]
        other = get(site, "/log?after=0000-1").json
        assert other["skipped"]

    @pytest.mark.parametrize("after", ["", "x", "a-b", "1-2-3", "x" * 1000])
    def test_a_cursor_that_is_none_is_refused(self, site: Site, after: str) -> None:
        """It is not taken for the end of the log."""
        assert get(site, f"/log?after={after}").status_code == 400

    def test_a_broker_that_is_away_is_told(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The figures still answer: they show the failed check."""
        state = site.app.extensions["sse_hub"]
        monkeypatch.setattr(state.broker, "tail", _away)
        monkeypatch.setattr(state.broker, "head", _away)
        answer = get(site, "/log", headers={"Accept": "application/json"})
        assert answer.status_code == 503
        assert answer.json == {"error": "the broker is away"}
        found = get(site, "/figures").json
        assert found["health"]["status"] == "unavailable"
        assert not found["workers"][0]["broker_up"]


class TestPeople:
    def test_the_fullest_channels_and_running_answers_come_first(
        self, make_site: MakeSite
    ) -> None:
        """Names are bounded, and none of them is a channel without presence."""
        site = make_site(
            stats_access=lambda: True, public_channels=["*"], presence=["room.*"]
        )
        for room, count in {"room.1": 1, "room.2": 11}.items():
            for number in range(count):
                url = f"/events?channel={room}&channel=news"
                site.browser(f"user-{number}").stream(url).next("connected")
        over = threading.Event()

        def found() -> Any:
            return get(site, "/people").json

        with site.app.test_request_context():
            for items in (iter(over.wait, None), ["done"]):
                site.hub.answers.start(items, user="alice")
        wait_until(
            lambda: (
                [each["people"] for each in found()["channels"]] == [11, 1]
                and [each["state"] for each in found()["answers"]]
                == ["running", "done"]
            )
        )
        shown = found()
        assert shown["channels"][0]["users"] == [f"user-{n}" for n in range(10)]
        assert shown["answers"][0]["user"] == "alice"
        assert (shown["more_channels"], shown["more_answers"]) == (0, 0)
        assert not shown["stale"]
        over.set()

    def test_an_app_without_both_has_empty_lists(self, site: Site) -> None:
        """The page says that there are none."""
        shown = get(site, "/people").json
        assert (shown["channels"], shown["answers"]) == ([], [])


def _away(*_: Any) -> Any:
    raise BrokerUnavailable("the broker is away")


class TestActions:
    def test_closing_ends_one_stream_and_is_logged(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The line names the user who asked for it."""
        stream = site.browser("alice").stream()
        client = json.loads(stream.next("connected").data)["client_id"]
        with caplog.at_level(logging.WARNING, "flask_sse_hub.web.console"):
            answer = act(site, "close", {"client": client})
        assert answer.status_code == 202
        wait_until(lambda: site.hub.stats().closed == {"disconnected": 1})
        (line,) = [each for each in caplog.messages if "the console" in each]
        assert client in line
        assert "for user 'admin' at '127.0.0.1'" in line

    def test_a_test_event_reaches_the_page_that_asks(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The ticket opens a stream without a login, and publishes to no other."""
        given = act(site, "test", {}).json
        stream = site.browser().stream(given["url"])
        stream.next("connected")
        answer = act(site, "publish", {"ticket": given["ticket"]})
        assert answer.status_code == 202
        assert stream.next("console-test").id == answer.json["id"]
        assert "publishes a test event" in caplog.text

    def test_a_ticket_of_the_app_publishes_nothing(self, site: Site) -> None:
        """It opens the app's own channel."""
        with site.app.test_request_context():
            ticket = site.hub.ticket(user="alice", channels="news")
        for wrong in (ticket, "", None, 7, [ticket]):
            assert act(site, "publish", {"ticket": wrong}).status_code == 400

    @pytest.mark.parametrize("path", ACTIONS)
    @pytest.mark.parametrize(
        "headers",
        [
            {"X-SSE-Hub-Console": None},
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "same-site"},
        ],
        ids=str,
    )
    def test_forged_requests_are_refused(
        self, site: Site, path: str, headers: dict[str, str | None]
    ) -> None:
        """A form sends cookies, and no header of its own."""
        sent = {k: v for k, v in {**ACTS, **headers}.items() if v is not None}
        client = site.browser("admin").client
        answer = client.post(f"/events/console{path}", json={}, headers=sent)
        assert answer.status_code == 403

    def test_a_preflight_does_not_allow_the_header(self, make_site: MakeSite) -> None:
        """A page of an origin that may open streams cannot act."""
        site = make_site(
            stats_access=lambda: True, cors_origins=["https://app.example"]
        )
        answer = site.browser().client.options(
            "/events/console/close", headers={"Origin": "https://app.example"}
        )
        allowed = answer.headers["Access-Control-Allow-Headers"].lower()
        assert "console" not in allowed

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"{", b"[]", b"7", b"{}", b"[" * 4000, b"x" * 5000),
            *(b'{"client": null}', b'{"client": ["a"]}'),
            *(b'{"client": ""}', b'{"client": "a\\nb"}'),
        ],
    )
    def test_hostile_bodies_are_refused(self, site: Site, body: bytes) -> None:
        """Nothing is closed, and nothing fails."""
        client = site.browser("admin").client
        answer = client.post("/events/console/close", data=body, headers=ACTS)
        assert answer.status_code in (400, 413)

    def test_flask_wtf_leaves_the_actions_alone(self, site: Site) -> None:
        """They have a check of their own, and the page knows no token of the app."""
        CSRFProtect(site.app)
        client = site.app.test_client()
        answer = client.post("/events/console/test", json={}, headers=ACTS)
        assert answer.status_code == 202
