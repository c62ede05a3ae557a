"""The site for tests of other projects' clients, and a browser that is logged in."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.foreign_clients.site import DATASTAR, FILES
from tests.kit.ports import HOST
from tests.kit.reader import wait_until
from tests.live.server import Server
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

#: Several lines, characters with a meaning in HTML and on the wire, and non-ASCII ones.
TEXT = "one: 1\n\ndata: two & <b>three</b> \u2028 \U0001f4e6 \u00fc"


class Site(Server):
    """A server with one worker, which records the requests for its streams."""

    def __init__(self, kind: str = "gunicorn-gevent", **settings: Any) -> None:
        # A short retry, so that tests need not wait seconds for a client to reconnect.
        settings = {"retry": [0.2, 0.3]} | settings
        super().__init__(kind, site="tests.foreign_clients.site", **settings)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def asked(self, field: str) -> list[str | None]:
        """Return the id of each stream request, from the header or from the query."""
        status, body = self.get("/asked")
        assert status == 200
        return [each[field] for each in json.loads(body)]

    def cursor(self) -> str:
        """Return the id of the last published event."""
        return self.get("/cursor")[1].decode()

    def connected(self) -> None:
        """Wait until a stream is open."""
        wait_until(lambda: self.stats()["connections"] == 1)

    def drop(self) -> None:
        """End alice's streams; she may connect again."""
        self.request("POST", "/disconnect/alice")

    def refuse_next(self, status: int) -> None:
        """Refuse the next request for a stream, as a proxy or a logout does."""
        self.request("POST", f"/refuse/{status}")

    def forget(self) -> None:
        """Wait until all clients have left, and delete the records of them."""
        wait_until(lambda: self.stats()["connections"] == 0)
        self.request("POST", "/forget")
        self.request("POST", "/forget-models")


@pytest.fixture(scope="session")
def running_site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def site(running_site: Site) -> Site:
    """A site without clients, notes or recorded requests."""
    running_site.forget()
    return running_site


#: Handles a page's requests for a stream.
OnStream = Callable[["Route"], object]

OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(chromium: "Browser", site: Site) -> Iterator[OpenPage]:
    """Return a function that opens a page of the documentation as alice."""
    if not all(path.exists() for path in FILES.values()):
        absent("a package of npm", remedy="run `npm ci` in tests")
    context = chromium.new_context(base_url=site.url)
    problems: list[str] = []

    def open_page(name: str, on_stream: OnStream | None = None) -> "Page":
        if name == "datastar" and DATASTAR is None:
            absent("Datastar", remedy="run `make tests/wheels`")
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto("/events/health/live")
        page.evaluate("fetch('/login/alice', {method: 'POST'})")
        if on_stream is not None:
            page.route("**/events?*", on_stream)
        page.goto(f"/{name}/notes")
        return page

    yield open_page
    context.close()
    assert not problems
