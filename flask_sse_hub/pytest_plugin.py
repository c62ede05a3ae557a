"""Fixtures for pytest, which finds this module by itself.

The only module that imports pytest. The fixtures return objects of ``testing``. That
package is imported only when a fixture is used, because most test runs on a machine
need no streams.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask
    from flask.testing import FlaskClient

    from .testing import Clock, People, Published, Stream


class StreamOptions(TypedDict, total=False):
    """The options of ``testing.Stream``, for type checkers."""

    client: "FlaskClient | None"
    headers: "Mapping[str, str] | None"
    method: str | None
    json: Any
    last_event_id: str
    within: float


class OpenStream(Protocol):
    """The function that ``sse_stream`` returns. Its streams close after the test."""

    def __call__(
        self, url: str = "/events", **options: Unpack[StreamOptions]
    ) -> "Stream":
        """Open a stream of the app, with the options of ``testing.Stream``.

        Without a ``client``, a new ``app.test_client()`` opens the stream.
        """


_NO_APP = """fixture 'app' not found: the fixtures sse_... need it. Add to conftest.py:

    @pytest.fixture
    def app():
        return create_app(TESTING=True, SSE_HUB_BROKER_URL="memory://")
"""


@pytest.fixture
def sse_app(request: pytest.FixtureRequest) -> Iterator["Flask"]:
    """Return the app of your fixture ``app``, with a new hub for this test."""
    from .testing import Clock, fresh_hub

    try:
        app: Flask = request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        # The fixture ``app`` exists, but one that it needs may be missing.
        if error.argname != "app":
            raise
        pytest.fail(_NO_APP, pytrace=False)
    # The hub needs the clock when it is made, so ``sse_clock`` would set it too late.
    clock = Clock() if "sse_clock" in request.fixturenames else None
    with fresh_hub(app, clock=clock):
        yield app


@pytest.fixture
def sse_clock(sse_app: "Flask") -> "Clock":
    """Return the clock of this test's hub. The test moves it by hand."""
    return cast("Clock", sse_app.extensions["sse_hub"].clock)


@pytest.fixture
def sse_published(sse_app: "Flask") -> "Published":
    """Return the events that the app publishes in this test, even without clients."""
    from .testing import Published

    return Published(sse_app)


@pytest.fixture
def sse_people(sse_app: "Flask") -> "People":
    """Return people who come to channels and leave them as the test says."""
    from .testing import People

    return People(sse_app)


@pytest.fixture
def sse_stream(sse_app: "Flask") -> Iterator[OpenStream]:
    """Return a function that opens streams of the app. They close after the test."""
    from .testing import Stream

    with ExitStack() as opened:

        def open_stream(
            url: str = "/events", **options: Unpack[StreamOptions]
        ) -> Stream:
            options.setdefault("client", sse_app.test_client())
            return opened.enter_context(Stream(url, **options))

        yield open_stream
