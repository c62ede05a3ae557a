"""Apps for the tests of the Flask side, and a browser for the tests that need one."""

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, login_user, logout_user

from example_app import create_app
from example_app.extensions import db
from flask_sse_hub import SSEHub
from tests.kit import cheaper_runs
from tests.kit.databases import MariaDB, PostgreSQL
from tests.kit.reader import StreamReader
from tests.kit.redis_server import RedisServer
from tests.kit.sockets import Pair
from tests.live.server import wait_for_stopped
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium

_CHROMIUM_ARGS = [
    "--no-sandbox",  # CI runs as root, and Chromium as root starts only without one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(cheaper_runs)


class User(UserMixin):  # type: ignore[misc]
    """A person whose id is its name."""

    def __init__(self, name: str) -> None:
        self.id = name

    @property
    def is_active(self) -> bool:
        return bool(self.id != "locked")


class Site:
    """An app with a hub, logins, and readers for its streams."""

    def __init__(self, *, login: bool = True, **settings: Any) -> None:
        self.app = Flask("site")
        self.app.config.update(
            SECRET_KEY="a key for tests", TESTING=True, SSE_HUB_BROKER_URL="memory://"
        )
        self.app.config.update({f"SSE_HUB_{k.upper()}": v for k, v in settings.items()})
        if login:
            manager = LoginManager(self.app)
            manager.user_loader(lambda name: User(name) if name != "deleted" else None)
        self.hub = SSEHub(self.app)
        self._readers: list[StreamReader] = []
        self._add_views()

    def _add_views(self) -> None:
        @self.app.post("/login/<name>")
        def login(name: str) -> str:
            login_user(User(name), force=True)
            return "in"

        @self.app.post("/logout")
        def logout() -> str:
            logout_user()
            return "out"

        @self.app.get("/page")
        def page() -> dict[str, str]:
            return {"client": self.hub.client_id(), "session": self.hub.session_id()}

        @self.app.get("/dashboard/sse")
        def dashboard() -> Response:
            return self.hub.stream("dashboard")

    def browser(self, user: str | None = None) -> "Browser":
        return Browser(self, user)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self.app.extensions["sse_hub"].close()

    def read(self, response: Any) -> StreamReader:
        assert response.status_code == 200, response.text
        coding = response.headers.get("Content-Encoding")
        reader = StreamReader(response.response, coding=coding)
        self._readers.append(reader)
        return reader


class Browser:
    """One cookie jar, logged in or not."""

    def __init__(self, site: Site, user: str | None) -> None:
        self._site = site
        self.client = site.app.test_client()
        if user is not None:
            self.login(user)

    def login(self, user: str) -> None:
        assert self.client.post(f"/login/{user}").text == "in"

    def logout(self) -> None:
        assert self.client.post("/logout").text == "out"

    def page(self) -> dict[str, str]:
        found: dict[str, str] = self.get("/page").json
        return found

    def get(self, url: str = "/events", **options: Any) -> Any:
        return self.client.get(url, **options)

    def stream(self, url: str = "/events", **options: Any) -> StreamReader:
        return self._site.read(self.get(url, **options))


MakeSite = Callable[..., Site]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a TCP connection: ours and the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def make_site() -> Iterator[MakeSite]:
    """Return a function that makes apps; streams and hubs are closed at the end."""
    made: list[Site] = []

    def make(**options: Any) -> Site:
        made.append(Site(**options))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app with logins, public channels, and otherwise the default settings."""
    return make_site(public_channels=["news", "sport.*"])


@pytest.fixture(scope="session", autouse=True)
def _servers_have_ended() -> Iterator[None]:
    """Fail at the end of the run if a server did not stop when it was told to."""
    yield
    wait_for_stopped()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that all tests share: never stop it, and use names of your own in it."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL that all tests share: make a database of your own in it."""
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB that all tests share: make a database of your own in it."""
    with MariaDB() as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> Iterator["Chromium"]:
    """One real Chromium for the whole run; Playwright starts only one at a time.

    It is Chromium's headless shell, which takes half of the time of a whole Chromium.
    """
    # Imported here, since this module is imported under gevent too. Playwright does
    # not work there, and the browser tests are left out.
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        absent("chromium", remedy="install Chromium and have it on PATH")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=_CHROMIUM_ARGS)
        yield started
        started.close()


@pytest.fixture
def chromium_with_cache(chromium: "Chromium") -> Iterator["Chromium"]:
    """A whole Chromium: the headless shell has no back/forward cache."""
    started = chromium.browser_type.launch(
        executable_path=shutil.which("chromium"),
        args=_CHROMIUM_ARGS,
        # Visitors' browsers have this cache, and Playwright disables it.
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield started
    started.close()


class DemoApp:
    """The example app without a server, without pauses, with files of its own."""

    def __init__(self) -> None:
        self.app = create_app()
        self._streams: list[StreamReader] = []

    def browser(self, user: str | None = "alice") -> FlaskClient:
        browser = self.app.test_client()
        if user is not None:
            browser.post("/login", data={"name": user, "password": "demo"})
        return browser

    def read(self, response: Any) -> StreamReader:
        assert response.status_code == 200, response.text
        stream = StreamReader(response.response)
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self.app.extensions["sse_hub"].hub.close()
        with self.app.app_context():
            db.engine.dispose()


@pytest.fixture
def demo_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DemoApp]:
    monkeypatch.setenv("FLASK_SECRET_KEY", "a key for tests")
    monkeypatch.setenv("FLASK_SSE_HUB_BROKER_URL", "memory://")
    database = f"sqlite:///{tmp_path}/example.db"
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", database)
    monkeypatch.setenv("FLASK_CHAT_PACE", "0.001")
    monkeypatch.setenv("FLASK_IMPORT_PAUSE", "0.001")
    demo_app = DemoApp()
    demo_app.app.instance_path = str(tmp_path)
    yield demo_app
    demo_app.close()
