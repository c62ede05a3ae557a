"""Fixtures for pytest, which finds this module through its entry point.

The only module that imports pytest. The fixtures return objects from ``testing``, which
is imported only when a fixture is used: pytest loads this module in every run on the
machine, and most runs do not test streams.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask
    from flask.testing import FlaskClient

    from .testing import Clock, Published, Stream


class StreamOptions(TypedDict, total=False):
    """The options of ``testing.Stream``, for type checkers."""

    client: "FlaskClient | None"
    headers: "Mapping[str, str] | None"
    method: str | None
    json: Any
    last_event_id: str
    within: float


class OpenStream(Protocol):
    """The value of ``sse_stream``: opens a stream, which is closed after the test."""

    def __call__(
        self, url: str = "/events", **options: Unpack[StreamOptions]
    ) -> "Stream":
        """Open a stream of the app; the options are those of ``testing.Stream``.

        Without a ``client``, a new ``app.test_client()`` opens the stream.
        """


_NO_APP = """fixture 'app' not found: define one that returns your Flask app:

    @pytest.fixture
    def app():
        return create_app(TESTING=True, SSE_HUB_BROKER_URL="memory://")
"""


@pytest.fixture
def sse_app(request: pytest.FixtureRequest) -> Iterator["Flask"]:
    """Give the app of your ``app`` fixture a new hub for this test alone."""
    from .testing import Clock, fresh_hub

    try:
        app: Flask = request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        # The missing fixture may be one that the app fixture itself requests: pytest
        # then names it.
        if error.argname != "app":
            raise
        pytest.fail(_NO_APP, pytrace=False)
    # The clock is made here, not in sse_clock: a hub keeps the clock it was made with.
    clock = Clock() if "sse_clock" in request.fixturenames else None
    with fresh_hub(app, clock=clock):
        yield app


@pytest.fixture
def sse_clock(sse_app: "Flask") -> "Clock":
    """Return the clock of this test's hub; the test moves it by hand."""
    return cast("Clock", sse_app.extensions["sse_hub"].clock)


@pytest.fixture
def sse_published(sse_app: "Flask") -> "Published":
    """Return the events that the app publishes in this test, even without clients."""
    from .testing import Published

    return Published(sse_app)


@pytest.fixture
def sse_stream(sse_app: "Flask") -> Iterator[OpenStream]:
    """Return a function that opens streams; they are closed after the test."""
    from .testing import Stream

    with ExitStack() as opened:

        def open_stream(
            url: str = "/events", **options: Unpack[StreamOptions]
        ) -> Stream:
            options.setdefault("client", sse_app.test_client())
            return opened.enter_context(Stream(url, **options))

        yield open_stream
