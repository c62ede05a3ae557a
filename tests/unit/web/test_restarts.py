"""Functions that go on with answers, as an app registers and passes them."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import current_app

from flask_sse_hub import Event, InvalidOption, SSEHub
from tests.conftest import MakeSite, Site
from tests.kit.reader import DEADLINE, EndOfStream, StreamReader


def go_on(answer_id: str, so_far: Any) -> list[str]:
    del answer_id, so_far
    return []


def in_the_wrong_order(so_far: Any, answer_id: str) -> list[str]:
    del answer_id, so_far
    return []


def endless(first: Any, may_go_on: threading.Event) -> Iterator[Any]:
    yield first
    may_go_on.wait(DEADLINE)


def rest(reader: StreamReader) -> list[Any]:
    found = []
    try:
        while True:
            found.append(reader.next())
    except EndOfStream:
        return found


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """An event for which the first worker's iterables wait until the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def make_worker(make_site: MakeSite, tmp_path: Path) -> Callable[[], Site]:
    """Return a function that makes another worker of the same app."""

    def make() -> Site:
        url = f"sqlite:///{tmp_path}/log.db"
        site = make_site(broker_url=url, login_required=False)

        @site.app.get("/answer/<answer_id>")
        def read(answer_id: str) -> Any:
            return site.hub.answers.response(answer_id)

        return site

    return make


@pytest.mark.parametrize("merge", ["".join, None])
def test_another_worker_goes_on_when_the_first_one_drains(
    make_worker: Callable[[], Site], held: threading.Event, merge: Any
) -> None:
    """The function has an app context if the answer asked for one."""
    called: list[Any] = []

    def register(hub: SSEHub) -> Any:
        @hub.restart_answer
        def rest_of(answer_id: str, so_far: Any) -> Iterator[Any]:
            called.append((answer_id, so_far, current_app.name))
            yield "three"

        return rest_of

    first, second = make_worker(), make_worker()
    register(second.hub)
    function = register(first.hub)
    item = "one two " if merge else Event("one", type="row")
    started = first.hub.answers.start(
        endless(item, held),
        user="alice",
        merge=merge,
        restart=function,
        app_context=True,
    )
    reader = second.browser("alice").stream(f"/answer/{started.id}")
    assert reader.next("message" if merge else "row")
    first.hub.drain()
    end = rest(reader)[-1]
    assert end.type == "done"
    assert [event.data for event in reader.events if event.type == "message"] == (
        ["one two ", "three"] if merge else ["three"]
    )
    assert called == [(started.id, item if merge else [item], "site")]


def test_a_function_that_returns_nothing_fails_the_answer(
    make_worker: Callable[[], Site], held: threading.Event
) -> None:
    """As an iterable that raises does."""
    first, second = make_worker(), make_worker()
    for worker in (first, second):
        worker.hub.restart_answer(lacks_a_yield)
    started = first.hub.answers.start(
        endless("one", held), user="alice", restart=lacks_a_yield
    )
    reader = second.browser("alice").stream(f"/answer/{started.id}")
    assert reader.next("message")
    first.hub.drain()
    assert rest(reader)[-1].type == "error"


def lacks_a_yield(answer_id: str, so_far: Any) -> Any:
    del answer_id, so_far


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda answer_id, so_far: [], "write `def`"),
        (None, "takes a function f(answer_id, so_far), not None"),
        (in_the_wrong_order, "in the other order"),
        (len, "cannot be called so"),
        (type("Maker", (), {"__qualname__": "M" * 300}), "cannot be called so"),
    ],
)
def test_a_bad_function_is_refused(site: Site, function: Any, told: str) -> None:
    """Where it is registered."""
    with pytest.raises(InvalidOption) as raised:
        site.hub.restart_answer(function)
    assert told in str(raised.value)


def test_two_functions_of_one_name_are_refused(site: Site) -> None:
    """Another worker could not tell them apart. The same one may come twice."""

    def make() -> Any:
        def named(answer_id: str, so_far: Any) -> list[str]:
            del answer_id, so_far
            return []

        return named

    site.hub.restart_answer(make())
    site.hub.restart_answer(make())
    site.hub.restart_answer(go_on)

    def named(answer_id: str, so_far: Any) -> list[str]:
        del answer_id, so_far
        return []

    named.__qualname__ = make().__qualname__
    with pytest.raises(InvalidOption, match="has a function already"):
        site.hub.restart_answer(named)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"restart": in_the_wrong_order}, "is not registered: decorate it"),
        ({"restart": lambda answer_id, so_far: []}, "is not registered: decorate it"),
        ({"restart": "go_on"}, "is not registered: decorate it"),
        ({"restart": go_on, "merge": lambda parts: parts[0]}, "merge="),
    ],
)
def test_a_restart_that_could_not_work_is_refused(
    site: Site, options: dict[str, Any], told: str
) -> None:
    """At the start, and the iterable is closed."""
    site.hub.restart_answer(go_on)
    closed = threading.Event()

    class Items(list[str]):
        def close(self) -> None:
            closed.set()

    with pytest.raises(InvalidOption, match=told):
        site.hub.answers.start(Items(), user=1, **options)
    assert closed.is_set()
