"""The site that others' clients are tried on, and a browser that is logged in to it."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.live.server import Server
from tests.others.site import DATASTAR, FILES
from tests.ports import HOST
from tests.reader import wait_until
from tests.wire.real_parts import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

#: Several lines, what HTML and the wire take for their own, and what is not ASCII.
TEXT = "one: 1\n\ndata: two & <b>three</b> \u2028 \U0001f4e6 \u00fc"


class Site(Server):
    """A server with one worker, which knows how its streams were asked for."""

    def __init__(self, kind: str = "gunicorn-gevent") -> None:
        # Quick, so that the tests need not wait for what a client does after seconds.
        super().__init__(kind, site="tests.others.site", retry=[0.2, 0.3])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def asked(self, field: str) -> list[str | None]:
        """Return what each request for a stream had as the id: header or query."""
        status, body = self.get("/asked")
        assert status == 200
        return [each[field] for each in json.loads(body)]

    def cursor(self) -> str:
        """Return the id of what was published last."""
        return self.get("/cursor")[1].decode()

    def connected(self) -> None:
        """Wait until a stream is open."""
        wait_until(lambda: self.stats()["connections"] == 1)

    def drop(self) -> None:
        """End the streams of alice, who is welcome to come back."""
        self.request("POST", "/disconnect/alice")

    def refuse_next(self, status: int) -> None:
        """Answer the next request for a stream as a proxy or a logout does."""
        self.request("POST", f"/refuse/{status}")

    def forget(self) -> None:
        """Wait until everybody has left, and forget them."""
        wait_until(lambda: self.stats()["connections"] == 0)
        self.request("POST", "/forget")


@pytest.fixture(scope="session")
def running_site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def site(running_site: Site) -> Site:
    """A site that nobody has visited."""
    running_site.forget()
    return running_site


#: What a page does about its requests for a stream.
OnStream = Callable[["Route"], object]

OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(chromium: "Browser", site: Site) -> Iterator[OpenPage]:
    """Return what opens a page of the documentation, as alice."""
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
