"""The app's and the request's context around the iterable of an answer."""

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from flask import Response, current_app, has_app_context, has_request_context
from flask import g as app_globals
from flask import request as flask_request
from werkzeug.test import EnvironBuilder

from flask_sse_hub import EventSourceResponse
from tests.kit.reader import wait_until
from tests.unit.answers.conftest import Site, producers, until_done


def test_there_is_no_context_by_default(site: Site) -> None:
    """The request is over, and so is its database session."""

    def looking() -> Iterator[bool]:
        yield has_app_context() or has_request_context()

    assert until_done(site.read(looking())) == ["false"]


def test_an_app_context_lasts_for_the_whole_iteration(site: Site) -> None:
    """The context includes closing, and is torn down before the client sees the end."""
    torn_down: list[Any] = []

    def working() -> Iterator[str]:
        try:
            app_globals.found = current_app.name
            yield app_globals.found
        finally:
            app_globals.closed = has_app_context()

    # The teardown of the request's own context is recorded too.
    site.app.teardown_appcontext(
        lambda error: torn_down.append(app_globals.get("closed"))
    )
    assert until_done(site.read(working(), app_context=True)) == ["site"]
    assert sorted(torn_down, key=str) == [None, True]


def test_no_app_context_ends_within_the_view(site: Site) -> None:
    """A teardown could end the view's database session if sessions are per thread."""
    order: list[str] = []

    @site.app.get("/working")
    def working() -> Response:
        response = EventSourceResponse(["a"], app_context=True)
        order.append("view")
        return response

    site.app.teardown_appcontext(lambda error: order.append("teardown"))
    again = f"last_event_id={site.read([]).next('done').id}"
    order.clear()
    response = site.client.get(f"/working?{again}")
    assert response.status_code == 204
    response.close()
    assert order[0] == "view"


def test_an_app_context_ends_when_the_client_leaves(site: Site) -> None:
    """The context's database connection returns to the pool."""
    torn_down: list[Any] = []
    site.app.teardown_appcontext(
        lambda error: torn_down.append(app_globals.get("mine"))
    )

    def working() -> Iterator[str]:
        app_globals.mine = True
        while True:
            yield "a"

    reader = site.read(working(), app_context=True)
    assert reader.data(1) == ["a"]
    reader.close()
    wait_until(lambda: True in torn_down)
    wait_until(lambda: not producers())


def test_no_reference_to_the_request_is_kept(site: Site) -> None:
    """A stream may stay open for a long time."""
    requests: list[weakref.ref[Any]] = []
    going_on = threading.Event()
    environs: list[weakref.ref[Any]] = []

    class Environ(dict[str, Any]):
        """A dict that supports weak references."""

    @site.app.get("/kept")
    def kept() -> Response:
        requests.append(weakref.ref(flask_request._get_current_object()))  # type: ignore[attr-defined]
        return EventSourceResponse(going_on.wait() and "a" for _ in range(1))

    environ = Environ(EnvironBuilder("/kept").get_environ())
    environs.append(weakref.ref(environ))
    body = site.app(environ, lambda *_: lambda _: None)
    del environ
    chunks = iter(body)
    assert next(chunks) == b":\n"
    gc.collect()
    assert requests[0]() is None
    assert environs[0]() is None
    going_on.set()
    body.close()  # type: ignore[attr-defined]
