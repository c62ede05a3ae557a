"""The endpoints in apps that match hosts or subdomains."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, url_for

from flask_sse_hub import ConfigurationError, SSEHub
from flask_sse_hub.testing import Stream
from tests.compat.table import compat

APP, API = "http://app.example:8000", "http://api.example"
BARE, WWW = "http://shop.example", "http://www.shop.example"

_made: list[Flask] = []


@pytest.fixture(autouse=True)
def _apps_are_closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().extensions["sse_hub"].close()


def hosts(**settings: Any) -> Flask:
    """Return an app that matches hosts, with a page on one of them."""
    app = Flask("site", host_matching=True, static_host="static.example")
    return with_hub(app, {"host": "app.example:8000"}, settings)


def subdomains(**settings: Any) -> Flask:
    """Return an app that matches subdomains, with a page on one of them."""
    app = Flask("site", subdomain_matching=True)
    app.config["SERVER_NAME"] = "shop.example"
    return with_hub(app, {"subdomain": "www"}, settings)


def with_hub(app: Flask, place: dict[str, str], settings: dict[str, Any]) -> Flask:
    app.config.update(
        SECRET_KEY="a key for tests",
        TESTING=True,
        SSE_HUB_BROKER_URL="memory://",
        SSE_HUB_LOGIN_REQUIRED=False,
        SSE_HUB_PUBLIC_CHANNELS=["news"],
    )
    app.config.update({f"SSE_HUB_{key.upper()}": it for key, it in settings.items()})
    sse_hub = SSEHub(app)
    _made.append(app)

    @app.get("/page", **place)
    def page() -> str:
        return str(sse_hub.script("news"))

    @app.get("/publish", **place)
    def publish() -> str:
        return sse_hub.publish("hello", channel="news")

    return app


def url_in_page(app: Flask, base: str) -> str:
    """Return the URL of the stream in the app's page."""
    page = app.test_client().get("/page", base_url=base)
    found = re.search(r'data-url="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def statuses(app: Flask, *bases: str) -> list[int]:
    client = app.test_client()
    return [client.get("/events/health", base_url=base).status_code for base in bases]


@pytest.mark.parametrize(
    ("make", "bases"),
    [(hosts, (APP, API)), (subdomains, (BARE, WWW, "http://a.b.shop.example"))],
    ids=["hosts", "subdomains"],
)
def test_without_a_setting_the_endpoints_are_on_every_host(
    make: Any, bases: tuple[str, ...]
) -> None:
    """A page finds them on its own host, as in an app that does not match hosts."""
    assert statuses(make(), *bases) == [200] * len(bases)


@pytest.mark.parametrize(
    ("make", "base"),
    [
        pytest.param(hosts, APP, marks=compat("Flask", "test client", "host_matching")),
        pytest.param(
            subdomains,
            WWW,
            marks=compat("Flask", "test client", "subdomain_matching"),
        ),
    ],
)
def test_a_stream_opens_at_the_url_in_the_page(make: Any, base: str) -> None:
    """The URL names no host, so the stream has the page's origin."""
    app = make()
    url = url_in_page(app, base)
    assert url == "/events?channel=news"
    client = app.test_client()
    with Stream(base + url, client=client) as stream:
        client.get("/publish", base_url=base)
        assert stream.next().data == "hello"


@pytest.mark.parametrize(
    ("make", "setting", "base", "other"),
    [
        (hosts, {"host": "API.example"}, API, APP),
        (hosts, {"host": "app.example:8000"}, APP, API),
        (subdomains, {"subdomain": "www"}, WWW, BARE),
        (subdomains, {"subdomain": ""}, BARE, WWW),
    ],
)
def test_a_setting_names_the_only_host(
    make: Any, setting: dict[str, str], base: str, other: str
) -> None:
    """On other hosts the app's own routes are free to use the path."""
    assert statuses(make(**setting), base, other) == [200, 404]


@pytest.mark.parametrize(
    ("make", "setting", "base", "url"),
    [
        (hosts, {"host": "app.example:8000"}, APP, "/events?channel=news"),
        (hosts, {"host": "api.example"}, APP, f"{API}/events?channel=news"),
        (subdomains, {"subdomain": ""}, WWW, f"{BARE}/events?channel=news"),
    ],
)
def test_a_page_of_another_host_has_the_full_url(
    make: Any, setting: dict[str, str], base: str, url: str
) -> None:
    """The import map names the same host."""
    app = make(**setting)
    assert url_in_page(app, base) == url
    client = url.removesuffix("?channel=news") + "/sse-hub.js?v="
    assert client in app.test_client().get("/page", base_url=base).text


@pytest.mark.parametrize(
    ("app", "setting", "remedy"),
    [
        (Flask("plain"), {"HOST": "app.example"}, "host_matching=True"),
        (Flask("plain"), {"SUBDOMAIN": "www"}, "subdomain_matching=True"),
        (Flask("plain"), {"SUBDOMAIN": ""}, "subdomain_matching=True"),
        (
            Flask(
                "hosts", host_matching=True, static_host="x", subdomain_matching=True
            ),
            {"SUBDOMAIN": "www"},
            "remove SSE_HUB_SUBDOMAIN",
        ),
        (
            Flask("nameless", subdomain_matching=True),
            {"SUBDOMAIN": "www"},
            "SERVER_NAME",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_start(
    app: Flask, setting: dict[str, str], remedy: str
) -> None:
    """Flask would ignore it, or no request would ever match."""
    app.config.update({f"SSE_HUB_{key}": value for key, value in setting.items()})
    with pytest.raises(ConfigurationError, match=remedy):
        SSEHub(app)
    # The app can still be given a hub, with better settings.
    assert "sse_hub" not in app.extensions


def test_an_app_may_match_subdomains_without_a_server_name() -> None:
    """Then no request has a subdomain."""
    app = Flask("nameless", subdomain_matching=True)
    app.config.update(SSE_HUB_BROKER_URL="memory://", SSE_HUB_LOGIN_REQUIRED=False)
    SSEHub(app)
    _made.append(app)
    assert statuses(app, "http://localhost", "http://10.0.0.7:8000") == [200, 200]


def test_a_page_outside_a_request_names_the_apps_own_host() -> None:
    """A command that writes pages has no request, but may have a SERVER_NAME."""
    app = hosts()
    app.config["SERVER_NAME"] = "app.example:8000"
    with app.app_context():
        assert url_for("sse_hub.stream") == f"{APP}/events"
