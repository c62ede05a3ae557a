"""Apps with other extensions, without a server; and the samples of that page."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, Response, redirect, render_template_string, request, url_for
from flask.testing import FlaskClient
from flask_caching import Cache
from flask_compress import Compress
from flask_cors import CORS, cross_origin
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import current_user, login_required
from flask_sqlalchemy import SQLAlchemy
from flask_talisman import Talisman
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from flask_sse_hub import EventSourceResponse, SSEHub
from tests.compat.table import compat
from tests.conftest import MakeSite, Site, User
from tests.documented.samples import sample

PAGE = "docs/extensions.md"
RELOAD = sample(PAGE, "python", with_="@sse_hub.reload_user")
HOST = sample(PAGE, "python", with_="SSE_HUB_HOST")
EXEMPT = sample(PAGE, "python", with_="@limiter.exempt")
CROSS_ORIGIN = sample(PAGE, "python", with_="@cross_origin(")
HOOK = sample(PAGE, "python", with_="@app.before_request")
TALISMAN = sample(PAGE, "python", with_="Talisman(")
SCRIPT = sample(PAGE, "jinja", with_="csp_nonce()")

TOKEN = "a-token-for-everything"


def run(code: str, **names: Any) -> dict[str, Any]:
    """Run a sample with the names that it uses."""
    exec(code, names)  # noqa: S102
    return names


def limit(app: Flask, **options: Any) -> Limiter:
    options = {"default_limits": ["1 per hour"]} | options
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", **options)
    if "login" in app.view_functions:
        limiter.exempt(app.view_functions["login"])
    return limiter


def statuses(client: FlaskClient, path: str, *, times: int = 3) -> list[int]:
    found = []
    for _ in range(times):
        with client.get(path) as response:
            found.append(response.status_code)
    return found


class TestLimits:
    @compat("Flask-Limiter", "test client", "added before the hub")
    @pytest.mark.parametrize("path", ["/events", "/events/health", "/events/stats"])
    def test_a_limiter_that_was_there_first(self, path: str) -> None:
        """The app does not have to exempt anything."""
        app = Flask("site")
        app.config.update(
            SSE_HUB_BROKER_URL="memory://",
            SSE_HUB_LOGIN_REQUIRED=False,
            SSE_HUB_STATS_ACCESS=lambda: True,
        )
        limit(app)
        SSEHub(app)
        client = app.test_client()
        for _ in range(3):
            with client.get(path) as response:
                assert response.status_code == 200
        app.extensions["sse_hub"].close()

    @compat("Flask-Limiter", "test client", "added after the hub")
    @pytest.mark.parametrize(
        "options",
        [{}, {"application_limits": ["2 per hour"]}, {"meta_limits": ["1 per hour"]}],
        ids=["default", "application", "meta"],
    )
    def test_a_limiter_that_comes_later(
        self, site: Site, options: dict[str, Any]
    ) -> None:
        """Limits for all views do not count requests to the hub's endpoints."""
        limit(site.app, **options)
        alice = site.browser("alice").client
        assert statuses(alice, "/events/health") == [200] * 3
        assert statuses(alice, "/page")[-1] == 429
        assert statuses(alice, "/events") == [200] * 3

    @compat("Flask-Limiter", "test client", "a limit for the hub's blueprint")
    def test_a_limit_that_is_meant_counts(self, site: Site) -> None:
        """Only limits that were made for all views are left out."""
        limiter = limit(site.app)
        blueprint: Any = site.app.blueprints["sse_hub"]
        limiter.limit("2 per hour")(blueprint)
        client = site.app.test_client()
        assert statuses(client, "/events/health") == [200, 200, 429]

    @compat("Flask-Limiter", "test client", "a view of the app that returns a stream")
    def test_a_view_of_the_app_is_exempt_as_the_page_says(self, site: Site) -> None:
        """Without that line a native EventSource ends for good at a 429."""
        limiter = limit(site.app)
        run(EXEMPT, app=site.app, limiter=limiter, sse_hub=site.hub)
        alice = site.browser("alice").client
        assert statuses(alice, "/dashboard/sse")[-1] == 429
        assert statuses(alice, "/dashboard/events") == [200] * 3


@compat("flask-talisman", "test client", "script() with Talisman's nonce")
def test_talismans_nonce_is_in_the_page(site: Site) -> None:
    """The policy forbids the import map of a page without it."""

    @site.app.get("/shop")
    def shop() -> str:
        return render_template_string(SCRIPT)

    run(TALISMAN, Talisman=Talisman, app=site.app)
    client = site.browser().client
    page = client.get("/shop", base_url="https://localhost")
    (nonce,) = re.findall(r'<script type="importmap" nonce="([^"]+)"', page.text)
    policy = page.headers["Content-Security-Policy"]
    assert f"script-src 'self' 'nonce-{nonce}'" in policy
    plain = site.app.test_client().get("/events/health")
    assert plain.status_code == 302
    proxied = {"X-Forwarded-Proto": "https"}
    health = site.app.test_client().get("/events/health", headers=proxied)
    assert health.status_code == 200


@compat("Flask-Compress", "test client", "told to compress event streams")
@pytest.mark.parametrize("coding", ["br", "gzip", "zstd", "deflate"])
@pytest.mark.parametrize("path", ["/events", "/answer"])
def test_streams_arrive_uncompressed(
    make_site: MakeSite, path: str, coding: str
) -> None:
    """The extension would hold events back until the stream ends."""
    site = make_site(compress_min_bytes=None)
    site.app.config["COMPRESS_MIMETYPES"] = ["text/event-stream"]
    site.app.config["COMPRESS_MIN_SIZE"] = 1
    Compress(site.app)

    @site.app.get("/answer")
    def answer() -> Response:
        return EventSourceResponse(["token"], compress=False)

    response = site.browser("alice").get(path, headers={"Accept-Encoding": coding})
    assert "Content-Encoding" not in response.headers
    site.read(response).next("connected" if path == "/events" else "done")


@compat("Flask-Caching", "test client", "a cached part of a page with script()")
def test_a_cached_part_of_a_page_leaves_its_script_alone(site: Site) -> None:
    """Each visitor has a client id of its own."""
    cache = Cache(site.app, config={"CACHE_TYPE": "SimpleCache"})
    made: list[int] = []

    @cache.memoize()
    def menu() -> str:
        made.append(1)
        return "menu"

    @site.app.get("/shop")
    def shop() -> str:
        return menu() + str(site.hub.script("news"))

    pages = {site.browser("alice").get("/shop").text for _ in range(2)}
    assert len(pages) == 2
    assert len(made) == 1


@compat("flask-cors", "test client", "its headers open no stream")
def test_an_origin_that_only_flask_cors_allows_opens_no_stream(site: Site) -> None:
    """The stream would belong to the visitor, and the page to somebody else."""
    CORS(site.app, supports_credentials=True)
    headers = {"Origin": "https://other.example"}
    response = site.browser("alice").get(headers=headers)
    assert response.status_code == 403
    assert "SSE_HUB_CORS_ORIGINS" in response.text


@compat("flask-cors", "test client", "preflights of a view that returns a stream")
def test_flask_cors_answers_preflights_of_the_apps_own_views(
    make_site: MakeSite,
) -> None:
    """The page of another origin then opens the stream, by the browser client too."""
    site = make_site(cors_origins=["https://app.example"])
    run(
        CROSS_ORIGIN,
        app=site.app,
        cross_origin=cross_origin,
        login_required=login_required,
        sse_hub=site.hub,
    )
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "last-event-id, prefer",
    }
    answer = site.browser().client.options("/dashboard/events", headers=asked)
    assert answer.headers["Access-Control-Allow-Headers"] == "last-event-id, prefer"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Max-Age"] == "7200"
    sent = {"Origin": "https://app.example"}
    stream = site.browser("alice").get("/dashboard/events", headers=sent)
    assert stream.headers.getlist("Access-Control-Allow-Origin") == [sent["Origin"]]
    site.read(stream).next("connected")


@compat("Flask-SQLAlchemy", "test client", "a pool of one connection")
def test_streams_hold_no_connection_of_a_pool_of_one(
    make_site: MakeSite, tmp_path: Any
) -> None:
    """The user of each stream is loaded, and its connection given back."""
    site = make_site(revalidate_interval=0.2)
    site.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/people.db"
    site.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "poolclass": QueuePool,
        "pool_size": 1,
        "max_overflow": 0,
        "pool_timeout": 2,
    }
    db = SQLAlchemy(site.app)
    loads: list[str] = []

    @site.app.login_manager.user_loader  # type: ignore[attr-defined,untyped-decorator]
    def load(name: str) -> User:
        assert db.session.execute(text("SELECT 1")).scalar() == 1
        loads.append(name)
        return User(name)

    browser = site.browser("alice")
    streams = [browser.stream() for _ in range(3)]
    for stream in streams:
        stream.next("connected")
    assert browser.get("/page").status_code == 200
    site.hub.publish("hello", user="alice")
    assert [stream.data(1) for stream in streams] == [["hello"]] * 3
    with site.app.app_context():
        db.engine.dispose()


ENDPOINTS = [
    ("GET", "/events"),
    ("GET", "/events/health"),
    ("GET", "/events/stats"),
    ("POST", "/events/publish"),
]


def add_login(site: Site) -> None:
    site.app.add_url_rule("/sign-in", "sign_in", lambda: "<form></form>")


@compat("Flask", "test client", "a hook that redirects to a login page")
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_a_hook_leaves_the_endpoints_alone_as_the_page_says(
    make_site: MakeSite, method: str, path: str
) -> None:
    """Programs and health checks find no login page."""
    site = make_site(publish_tokens=[TOKEN])
    add_login(site)
    run(
        HOOK,
        app=site.app,
        request=request,
        current_user=current_user,
        redirect=redirect,
        url_for=url_for,
    )
    client = site.app.test_client()
    assert client.get("/page").location == "/sign-in"
    with client.open(path, method=method) as response:
        assert response.status_code in (200, 401, 403)


def test_the_sample_of_reload_user_returns_the_user(site: Site) -> None:
    """The site of Flask-Security's tests has the same function."""
    asked: list[dict[str, str]] = []
    datastore = SimpleNamespace(find_user=lambda **by: asked.append(by))
    names = run(RELOAD, sse_hub=site.hub, security=SimpleNamespace(datastore=datastore))
    names["reload_user"]("some id")
    assert asked == [{"fs_uniquifier": "some id"}]


@compat("Flask", "test client", "host_matching, with SSE_HUB_HOST")
def test_the_sample_of_a_host_serves_there_alone() -> None:
    """Pages of other hosts have the full URL."""
    app: Flask = run(HOST, Flask=Flask, __name__=__name__)["app"]
    app.config.update(SSE_HUB_BROKER_URL="memory://", SSE_HUB_LOGIN_REQUIRED=False)
    SSEHub(app)
    client = app.test_client()

    def found(host: str) -> int:
        base = f"http://{host}"
        return client.get("/events/health", base_url=base).status_code

    assert found("events.example") == 200
    assert found("app.example") == 404
    app.extensions["sse_hub"].close()
