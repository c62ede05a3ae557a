"""The documentation site builds without warnings, and loads nothing from elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from docs.site_hooks import labelled, relinked
from tests.documented.samples import ROOT
from tests.kit.ports import HOST
from tests.kit.reader import DEADLINE
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

#: Words that a user searches, and the page that has to be among the first three.
SEARCHES = {
    "401": "operations",
    "502": "deploying",
    "alpine": "alpine",
    "apache": "deploying",
    "apscheduler": "jobs",
    "background job": "jobs",
    "bearer token": "tokens",
    "celery": "jobs",
    "close reason": "operations",
    "cloud run": "deploying",
    "commit": "database",
    "cors": "extensions",
    "cron": "jobs",
    "csrf": "extensions",
    "docker": "deploying",
    "emit": "socketio",
    "eventsource": "browser",
    "fastapi": "faq",
    "flask-sse": "migration",
    "flutter": "native",
    "gunicorn timeout": "operations",
    "health check": "operations",
    "heroku": "deploying",
    "htmx": "htmx",
    "http/2": "deploying",
    "jwt": "tokens",
    "kotlin": "native",
    "kubernetes": "deploying",
    "log message": "log-messages",
    "logout": "concepts",
    "memory": "benchmarks",
    "mock": "testing",
    "monkey patch": "servers",
    "namespace": "socketio",
    "nginx buffering": "deploying",
    "nginx": "deploying",
    "nothing arrives": "faq",
    "notification": "notifications",
    "openai": "chat",
    "outbox": "database",
    "polling": "choosing",
    "progress bar": "jobs",
    "prometheus": "operations",
    "publish": "publishing",
    "rate limit": "extensions",
    "react": "browser",
    "react native": "native",
    "reconnect": "faq",
    "redis": "brokers",
    "reload": "deploying",
    "resume": "concepts",
    "room": "rooms",
    "six tabs": "browser",
    "socketio": "socketio",
    "sqlalchemy": "database",
    "sqlite": "brokers",
    "SSE_HUB_MAX_AGE": "configuration",
    "stripe": "webhooks",
    "swift": "native",
    "systemd": "deploying",
    "tenant": "tenants",
    "test": "testing",
    "ticket": "page-setup",
    "traefik": "deploying",
    "tutorial": "notifications",
    "typescript": "browser",
    "typing": "typing-indicators",
    "uwsgi": "servers",
    "vue": "browser",
    "webhook": "webhooks",
    "websocket": "choosing",
    "windows": "servers",
}

AXE = ROOT / "tests/node_modules/axe-core/axe.min.js"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_it_is_built_without_a_warning(site: Path) -> None:
    """A page that the navigation leaves out, and a link to nowhere, are warnings."""
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    assert (site / "project/changelog.html").exists()


def test_the_site_has_no_python_files(site: Path) -> None:
    """It has the OpenAPI file, which programs read."""
    assert list(site.rglob("*.py")) == []
    described = (ROOT / "docs/openapi.json").read_bytes()
    assert (site / "openapi.json").read_bytes() == described


def test_the_settings_of_gunicorn_can_be_copied_from_it(site: Path) -> None:
    """The page about deploying links to them, since the package does not have them."""
    settings = (ROOT / "gunicorn.conf.py").read_text()
    assert (site / "project/gunicorn.conf.txt").read_text() == settings
    page = (site / "deploying.html").read_text()
    assert page.count('href="project/gunicorn.conf.txt"') == 2


def test_long_names_break_between_their_words(site: Path) -> None:
    """A phone does not cut a setting's name in the middle of a word."""
    page = (site / "streams.html").read_text()
    assert "<code>SSE_<wbr>HUB_<wbr>REVALIDATE_<wbr>INTERVAL</code>" in page
    page = (site / "configuration.html").read_text()
    assert "SSE_<wbr>HUB_<wbr>PRESENCE_<wbr>HOOK_<wbr>SECRETS<a " in page
    assert "<wbr>" not in "".join(re.findall("<pre>.*?</pre>", page, re.DOTALL))


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    """Fonts, scripts, styles and images are its own. Only links lead elsewhere."""
    loaded = re.compile(
        r"<(?:script|img|link|iframe)[^>]+(?:src|href)=[\"']?(\w+:[^\"' >]+)"
    )
    for page in site.rglob("*.html"):
        assert loaded.findall(page.read_text()) == []
    for style in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?https?:|@import", style.read_text()) == []


@pytest.fixture(scope="module")
def found(site: Path) -> dict[str, list[str]]:
    """The pages that the site's search lists for each of the searches, best first."""
    if shutil.which("node") is None:
        absent("node", remedy="install Node.js")
    script = Path(__file__).with_name("search.mjs")
    done = subprocess.run(
        ["node", script, site, *SEARCHES], capture_output=True, check=True, timeout=200
    )
    return dict(zip(SEARCHES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("words", SEARCHES)
def test_a_search_leads_to_the_page_that_helps(
    found: dict[str, list[str]], words: str
) -> None:
    """The page is one of the first three; name a heading of it as users search it."""
    assert f"{SEARCHES[words]}.html" in found[words][:3]


@pytest.mark.parametrize(
    ("source", "place", "link", "expected"),
    [
        ("docs/api.md", "api.md", "[a](browser.md#react)", "[a](browser.md#react)"),
        ("docs/a.md", "a.md", "[a](../README.md)", "[a](index.md)"),
        (
            "docs/a.md",
            "a.md",
            "[a](../SECURITY.md)",
            "[a](project/security-policy.md)",
        ),
        (
            "CONTRIBUTING.md",
            "project/contributing.md",
            "[a](docs/design/index.md#words)",
            "[a](../design/index.md#words)",
        ),
        ("docs/a.md", "a.md", "see [the app](../example_app)", "see the app"),
        ("docs/a.md", "a.md", "[a](../no.md) [b](no.md)", "[a](../no.md) [b](no.md)"),
        ("docs/a.md", "a.md", "[a](https://x.org)", "[a](https://x.org)"),
        ("docs/a.md", "a.md", "[a](#part)", "[a](#part)"),
        (
            "docs/a.md",
            "a.md",
            "```js\nf[x](../tests)\n```",
            "```js\nf[x](../tests)\n```",
        ),
    ],
)
def test_links_lead_to_the_sites_own_pages(
    source: str, place: str, link: str, expected: str
) -> None:
    """A link to a file outside the site becomes text. A broken link is left broken."""
    assert relinked(link, source=source, place=place) == expected


def test_a_row_can_be_read_as_a_card() -> None:
    """Each cell but the first has the head of its column, if that says something."""
    row = "<tr>\n<td>a</td>\n<td>b</td>\n<td>c</td>\n</tr>"
    heads = "<tr><th>key</th><th>default</th><th>meaning</th></tr>"
    table = labelled(f"<table><thead>{heads}</thead><tbody>{row}</tbody></table>")
    assert table.startswith("<table data-cards>")
    assert '<td>a</td>\n<td data-label="default">b</td>\n<td>c</td>' in table


class Quiet(SimpleHTTPRequestHandler):
    """A file server that does not log."""

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    """The URL of the served site."""
    server = ThreadingHTTPServer((HOST, 0), partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield f"http://{HOST}:{server.server_port}/"
    server.shutdown()
    thread.join(DEADLINE)
    server.server_close()


@pytest.fixture
def page(chromium: "Browser", url: str) -> Iterator["Page"]:
    """A page that may request nothing but the site."""
    problems: list[str] = []

    def refuse(route: "Route") -> None:
        problems.append(route.request.url)
        route.abort()

    context = chromium.new_context()
    context.set_default_timeout(DEADLINE * 1000)
    context.route(lambda asked: not asked.startswith((url, "file:")), refuse)
    context.on("weberror", lambda error: problems.append(str(error.error)))
    yield context.new_page()
    context.close()
    assert problems == []


def look_at(page: "Page", url: str, *, width: int, scheme: Any) -> str:
    """Open a page, check that it fits the window; return its background colour."""
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(url, wait_until="domcontentloaded")
    assert page.locator("h1").count() == 1, url
    too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert too_wide <= 0, url
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.browser
def test_every_page_fits_a_phone(page: "Page", site: Path, url: str) -> None:
    """Wide parts, such as code and tables, scroll by themselves."""
    names = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    # The links of 404.html begin at the root of the host.
    for name in names - {"404.html"}:
        look_at(page, url + name, width=360, scheme="dark")


@pytest.mark.browser
@pytest.mark.parametrize("name", ["index", "concepts", "operations"])
def test_a_page_is_light_or_dark_as_the_reader_prefers(
    page: "Page", url: str, name: str
) -> None:
    """It follows the setting of the system, on a desktop too."""
    light, dark = (
        look_at(page, f"{url}{name}.html", width=1280, scheme=scheme)
        for scheme in ("light", "dark")
    )
    assert light == "rgb(255, 255, 255)" != dark


@pytest.mark.browser
@pytest.mark.parametrize("way", ["http", "file"])
def test_the_search_finds_a_setting(
    page: "Page", site: Path, url: str, way: str
) -> None:
    """It also works in a site that is opened from a folder, without web workers."""
    page.goto((url if way == "http" else f"{site.as_uri()}/") + "index.html")
    page.locator("[name=query]").click()
    page.keyboard.type("SSE_HUB_MAX_AGE")
    result = page.locator(".md-search-result__link", has_text="Configuration")
    result.first.wait_for()
    assert "configuration.html" in (result.first.get_attribute("href") or "")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("word", "first"), [("logout", "concepts.html"), ("heroku", "deploying.html")]
)
def test_the_search_begins_with_the_page_that_explains_a_word(
    page: "Page", url: str, word: str, first: str
) -> None:
    """Pages about other packages come later."""
    page.goto(f"{url}index.html")
    page.locator("[name=query]").click()
    page.keyboard.type(word)
    result = page.locator(".md-search-result__link").first
    result.wait_for()
    assert first in (result.get_attribute("href") or "")


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("index", 1280, "light"), ("configuration", 360, "dark")],
)
def test_a_page_is_accessible(
    page: "Page", url: str, name: str, width: int, scheme: str
) -> None:
    """The checker axe finds no serious fault."""
    if not AXE.exists():
        absent("axe-core", remedy=f"run npm ci in {AXE.parents[2]}")
    look_at(page, f"{url}{name}.html", width=width, scheme=scheme)
    page.evaluate(AXE.read_text())
    faults = page.evaluate("axe.run()")["violations"]
    serious = [each for each in faults if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []


@pytest.mark.browser
def test_the_drawing_is_readable_on_a_phone(page: "Page", url: str) -> None:
    """Its smallest text is as tall as the text of tables."""
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{url}concepts.html")
    drawing = page.locator("img[src$='data-flow.svg']")
    shown = drawing.bounding_box()
    assert shown is not None
    svg = (ROOT / "docs/data-flow.svg").read_text()
    smallest = min(
        float(size) for size in re.findall(r"(?:font|size): ([\d.]+)px", svg)
    )
    assert smallest * shown["width"] / 360 > 10
