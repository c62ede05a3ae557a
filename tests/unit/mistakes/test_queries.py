"""Mistakes: unknown names and values in a stream's query."""

import json

import pytest

from tests.conftest import MakeSite, Site

QUERIES = [
    (
        "channels=news",
        "the query name 'channels' is unknown: use channel=, once for each channel",
    ),
    ("chanel=news", "the query name 'chanel' is unknown: did you mean channel=?"),
    (
        "clientId=7",
        (
            "the query name 'clientId' is unknown: use client_id=, with an id from"
            " sse_hub.client_id()"
        ),
    ),
    (
        "token=abc",
        (
            "the query name 'token' is unknown: use ticket=, with a ticket from"
            " sse_hub.ticket()"
        ),
    ),
    (
        "user_id=7",
        (
            "the query name 'user_id' is unknown: leave it out, because the login or"
            " the ticket tells the user"
        ),
    ),
    ("_=1700000000", "the query name '_' is unknown: it has no effect"),
    (
        "channel=a,b",
        (
            "a comma in channel= is a part of the channel's name: for several channels,"
            " write channel=a&channel=b"
        ),
    ),
]


class TestQueries:
    @pytest.fixture
    def site(self, make_site: MakeSite) -> Site:
        return make_site(login=False, login_required=False, public_channels=["*"])

    @pytest.mark.parametrize(("query", "text"), QUERIES)
    def test_a_developer_reads_in_connected_what_is_unknown(
        self, site: Site, query: str, text: str
    ) -> None:
        """In debug mode the first event has a text for each mistake."""
        site.app.debug = True
        connected = site.browser().stream(f"/events?{query}").next("connected")
        assert json.loads(connected.data)["warnings"] == [text]

    def test_visitors_receive_no_warnings(self, site: Site) -> None:
        """Out of debug mode the first event has its usual fields alone."""
        connected = site.browser().stream("/events?channels=news").next("connected")
        assert "warnings" not in json.loads(connected.data)

    def test_a_right_query_has_no_warnings(self, site: Site) -> None:
        """Every name that the hub reads is known, and so are those of polyfills."""
        site.app.debug = True
        url = "/events?channel=a&last_event_id=&lastEventId=&client_id="
        connected = site.browser().stream(url).next("connected")
        assert "warnings" not in json.loads(connected.data)

    def test_each_name_is_in_the_log_once(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A page that reconnects writes no second line."""
        for _ in range(2):
            site.browser().stream("/events?channels=news")
        assert caplog.messages == [
            (
                "in a request for a stream, the query name 'channels' is unknown: use"
                " channel=, once for each channel [SSE-1006]"
            )
        ]

    def test_strangers_cannot_fill_the_log(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each name takes memory and a line: there are twenty in all."""
        for number in range(30):
            site.browser().stream(f"/events?made_up_{number}=1")
        assert len(caplog.messages) == 20

    @pytest.mark.parametrize("name", ["*", "a*", "a.*.b", "**"])
    def test_a_bad_pattern_is_refused(self, site: Site, name: str) -> None:
        """The answer says which patterns there are."""
        response = site.browser().get(f"/events?channel={name}")
        assert response.status_code == 400
        assert "only the last part of a name can be a *" in response.text
