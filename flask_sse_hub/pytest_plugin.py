"""Fixtures for pytest, which finds this module by itself.

The only one that imports pytest. What the fixtures give is in ``testing``, which is
imported when one is used: most runs of pytest on a machine are not about streams.
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
    """What ``sse_stream`` gives: it opens a stream, which is closed after the test."""

    def __call__(
        self, url: str = "/events", **options: Unpack[StreamOptions]
    ) -> "Stream":
        """Open a stream of the app; the options are those of ``testing.Stream``.

        Without a ``client`` it is a new ``app.test_client()``.
        """


_NO_APP = """fixture 'app' not found: the fixtures sse_... take your Flask app from it:

    @pytest.fixture
    def app():
        return create_app(TESTING=True, SSE_HUB_BROKER_URL="memory://")
"""


@pytest.fixture
def sse_app(request: pytest.FixtureRequest) -> Iterator["Flask"]:
    """Give the ``app`` of your own fixture a hub for this test alone."""
    from .testing import Clock, fresh_hub

    try:
        app: Flask = request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        # It may also be one that the fixture itself asks for.
        if error.argname != "app":
            raise
        pytest.fail(_NO_APP, pytrace=False)
    # Here, and not when the clock is asked for: a hub keeps the one it was made with.
    clock = Clock() if "sse_clock" in request.fixturenames else None
    with fresh_hub(app, clock=clock):
        yield app


@pytest.fixture
def sse_clock(sse_app: "Flask") -> "Clock":
    """Return the clock, moved by hand, by which the hub of this test goes."""
    return cast("Clock", sse_app.extensions["sse_hub"].clock)


@pytest.fixture
def sse_published(sse_app: "Flask") -> "Published":
    """Return what the app publishes in this test, whether anybody listens or not."""
    from .testing import Published

    return Published(sse_app)


@pytest.fixture
def sse_stream(sse_app: "Flask") -> Iterator[OpenStream]:
    """Open streams of the app, which are closed at the end."""
    from .testing import Stream

    with ExitStack() as opened:

        def open_stream(
            url: str = "/events", **options: Unpack[StreamOptions]
        ) -> Stream:
            options.setdefault("client", sse_app.test_client())
            return opened.enter_context(Stream(url, **options))

        yield open_stream
