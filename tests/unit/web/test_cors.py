"""Origins: which pages of other sites may use the endpoints."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Response

from tests.conftest import MakeSite, Site

FRIEND = "https://app.example"
STRANGER = "https://evil.example"

STREAM = {"Access-Control-Request-Method": "GET"}


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(cors_origins=[FRIEND], public_channels=["news"])


def get(site: Site, origin: str, *, user: str | None = "alice") -> Any:
    return site.browser(user).get(headers={"Origin": origin})


def test_nothing_is_allowed_by_default(make_site: MakeSite) -> None:
    """Without allowed origins, no CORS header is sent."""
    response = get(make_site(), FRIEND)
    assert not [name for name, _ in response.headers if name.startswith("Access")]
    assert "Vary" not in response.headers or "Origin" not in response.vary


def test_an_allowed_origin_may_use_the_visitors_login(site: Site) -> None:
    """The answer names the exact origin, because a wildcard excludes cookies."""
    headers = get(site, FRIEND).headers
    assert headers["Access-Control-Allow-Origin"] == FRIEND
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Access-Control-Expose-Headers"] == "Retry-After, Answer-ID"


@pytest.mark.parametrize(
    "origin",
    [
        STRANGER,
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://sub.app.example",
        "https://APP.EXAMPLE",
        "null",
        "",
    ],
)
def test_no_other_origin_is_allowed(site: Site, origin: str) -> None:
    """An origin that only looks similar is not allowed."""
    assert "Access-Control-Allow-Origin" not in get(site, origin).headers


@pytest.mark.parametrize("origin", [FRIEND, STRANGER])
def test_caches_keep_answers_apart(site: Site, origin: str) -> None:
    """A cached answer for one site is never served to another."""
    assert "Origin" in get(site, origin).vary


def test_a_refusal_can_be_read_too(site: Site) -> None:
    """A page that cannot see the 401 would try for ever."""
    response = get(site, FRIEND, user=None)
    assert response.status_code == 401
    assert response.headers["Access-Control-Allow-Origin"] == FRIEND


def test_an_allowed_origin_may_read_the_apps_own_view(site: Site) -> None:
    """The response of stream() has the headers too."""
    response = site.browser("alice").get("/dashboard/sse", headers={"Origin": FRIEND})
    assert response.headers["Access-Control-Allow-Origin"] == FRIEND


@pytest.mark.parametrize("what", ["stream", "answer"])
def test_a_header_of_the_views_decorator_comes_once(site: Site, what: str) -> None:
    """Browsers refuse a header that comes twice, also with the same value."""

    def with_cors(view: Callable[[], Response]) -> Callable[[], Response]:
        def decorated() -> Response:
            response = view()
            response.headers.add("Access-Control-Allow-Origin", FRIEND)
            response.headers.add("Access-Control-Allow-Credentials", "true")
            return response

        return decorated

    views: dict[str, Callable[[], Response]] = {
        "stream": lambda: site.hub.stream("news"),
        "answer": lambda: site.hub.answers.start(["a word"]).response(),
    }
    site.app.add_url_rule("/decorated", view_func=with_cors(views[what]))
    sent = {"Origin": FRIEND}
    with site.browser("alice").client.get("/decorated", headers=sent) as response:
        headers = response.headers
        assert headers.getlist("Access-Control-Allow-Origin") == [FRIEND]
        assert headers.getlist("Access-Control-Allow-Credentials") == ["true"]


def test_a_preflight_is_answered_without_a_login(site: Site) -> None:
    """A browser sends no cookie with a preflight, and it asks for Last-Event-ID."""
    headers = STREAM | {
        "Origin": FRIEND,
        "Access-Control-Request-Headers": "last-event-id, prefer",
    }
    response = site.browser().client.options("/events", headers=headers)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == FRIEND
    assert "GET" in response.headers["Access-Control-Allow-Methods"]
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    for name in ("last-event-id", "prefer", "authorization", "content-type"):
        assert name in allowed


def test_a_preflight_is_kept(site: Site) -> None:
    """Each reconnect of the browser client would otherwise be two requests.

    Two hours is the most that Chromium accepts.
    """
    response = site.browser().client.options(
        "/events", headers=STREAM | {"Origin": FRIEND}
    )
    assert response.headers["Access-Control-Max-Age"] == "7200"


def test_a_preflight_for_publishing_is_answered_without_a_login(
    make_site: MakeSite,
) -> None:
    """The browser asks whether it may send a JSON body and a bearer token."""
    site = make_site(cors_origins=[FRIEND], publish_tokens=["a-token-of-a-test"])
    headers = {"Access-Control-Request-Method": "POST", "Origin": FRIEND}
    response = site.browser().client.options("/events/publish", headers=headers)
    assert response.status_code == 200
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]


def test_a_strangers_preflight_allows_nothing(site: Site) -> None:
    """The browser then never sends the request itself."""
    headers = STREAM | {"Origin": STRANGER}
    response = site.browser().client.options("/events", headers=headers)
    assert not [name for name, _ in response.headers if name.startswith("Access")]


# The host of the requests of Flask's test client.
HOST = "localhost"


class TestStreamsOfOtherSites:
    """A page of another site that cannot read streams could still open many."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site", "Origin": STRANGER},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": f"https://www.{HOST}"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
            {"Origin": STRANGER},
            {"Origin": f"https://www.{HOST}"},
            {"Origin": f"https://{HOST}:8443"},
            {"Origin": f"https://{HOST}.evil.example"},
            {"Origin": f"https://evil.example/{HOST}"},
            {"Origin": "null"},
            {"Origin": ""},
        ],
        ids=lambda headers: " ".join(headers.values()) or "empty",
    )
    @pytest.mark.parametrize("path", ["/events", "/dashboard/sse"])
    def test_a_page_of_another_origin_opens_no_stream(
        self, site: Site, path: str, headers: dict[str, str]
    ) -> None:
        """With the visitor's cookies, its streams would evict the visitor's own.

        A sibling subdomain receives the visitor's cookies too. Older browsers send no
        Sec-Fetch-Site, and a request for an image has no Origin.
        """
        response = site.browser("alice").get(path, headers=headers)
        assert response.status_code == 403
        assert "SSE_HUB_CORS_ORIGINS" in response.text

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Sec-Fetch-Site": "cross-site", "Origin": FRIEND},
            {"Origin": FRIEND},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": f"http://{HOST}"},
            {"Origin": f"https://{HOST}"},
            {"Origin": f"https://{HOST.upper()}:443"},
            {"Sec-Fetch-Site": "same-origin", "Origin": "https://before-the-proxy"},
        ],
        ids=lambda headers: " ".join(headers.values()) or "nothing",
    )
    def test_other_requests_open_a_stream(
        self, site: Site, headers: dict[str, str]
    ) -> None:
        """A program sends none of the headers, and the app's own pages their host.

        Behind a proxy that ends TLS, the app sees another scheme than the browser.
        """
        assert site.browser("alice").get(headers=headers).status_code == 200
