"""Apps for the tests of the Flask side."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response
from flask_login import LoginManager, UserMixin, login_user, logout_user

from flask_sse_hub import SSEHub
from tests.reader import StreamReader


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
        self.app.config.update(SECRET_KEY="a key for tests", TESTING=True)
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
        self.app.extensions["sse_hub"].hub.close()

    def read(self, response: Any) -> StreamReader:
        assert response.status_code == 200, response.text
        reader = StreamReader(response.response)
        self._readers.append(reader)
        return reader


class Browser:
    """One cookie jar, perhaps logged in."""

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
def make_site() -> Iterator[MakeSite]:
    """Return what makes an app; its streams and hub are closed at the end."""
    made: list[Site] = []

    def make(**options: Any) -> Site:
        made.append(Site(**options))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """An app with logins and the default settings, but for a public channel."""
    return make_site(public_channels=["news", "sport.*"])
