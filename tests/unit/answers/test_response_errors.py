"""Answers whose iterable fails: the client's error, and the log."""

import gc
import json
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_sse_hub import Batch
from flask_sse_hub.answers.body import AnswerBody
from tests.kit.reader import wait_until
from tests.unit.answers.conftest import Site, a_body, producer_of, producers, rest_of
from tests.unit.answers.test_producer import Upstream


def at_once() -> Iterator[str]:
    raise LookupError("a secret")
    yield "never"


def in_the_middle() -> Iterator[str]:
    yield "a"
    raise LookupError("a secret")


def in_its_finally() -> Iterator[str]:
    try:
        yield "a"
    finally:
        raise LookupError("a secret")


def without_a_form() -> Iterator[Any]:
    yield "a"
    yield {"a secret": object()}


def without_utf8() -> Iterator[str]:
    yield "\ud800"


def by_exit() -> Iterator[str]:
    yield "a"
    raise SystemExit("a secret")


@pytest.mark.parametrize(
    "failing",
    [at_once, in_the_middle, in_its_finally, without_a_form, without_utf8, by_exit],
)
def test_an_error_is_sent_without_details_and_logged(
    site: Site,
    failing: Callable[[], Iterator[Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Earlier events are sent. The id of the error event is in the log line."""
    reader = site.read(failing())
    seen = rest_of(reader)
    assert [data for type, data in seen if type == "message"] in (["a"], [])
    type, data = seen[-1]
    assert type == "error"
    assert [each for each, _ in seen].count("error") == 1
    told = json.loads(data)
    assert told == {"message": "the stream ended by an error", "id": told["id"]}
    assert reader.last_event_id == told["id"]
    (record,) = caplog.records
    assert told["id"] in record.message
    assert record.exc_info
    assert site.respond([], query=f"last_event_id={told['id']}").status_code == 204
    wait_until(lambda: not producers())


def test_an_error_keeps_no_reference_to_the_iterable(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The iterable's objects are freed at once, without the garbage collector."""
    # pytest would keep a reference to the logged error.
    monkeypatch.setattr(logging.getLogger(AnswerBody.__module__), "disabled", True)
    held: list[weakref.ref[Any]] = []

    class Connection:
        """A connection that is never closed explicitly."""

    def failing() -> Iterator[str]:
        connection = Connection()
        held.append(weakref.ref(connection))
        yield "a"
        raise LookupError

    gc.disable()
    try:
        rest_of(site.read(failing()))
        wait_until(lambda: not producers())
        wait_until(lambda: held[0]() is None)
    finally:
        gc.enable()


def test_an_error_is_logged_even_if_the_client_has_left(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The iterable runs ahead, so it may fail after its client has left."""
    body = a_body(site, in_the_middle())
    wait_until(lambda: producer_of(body)._ended)
    body.close()
    body.close()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


@pytest.mark.parametrize("count", [2, 3], ids=["when full", "at the end"])
def test_a_failing_merge_is_an_error(
    site: Site, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream ends as if the iterable had failed."""
    upstream = Upstream(lambda: iter([1] * count))
    batch = Batch(size=2 if count == 2 else 10, merge="".join)
    ((type, data),) = rest_of(site.read(upstream, batch=batch))
    assert type == "error"
    assert json.loads(data)["id"] in caplog.text
    wait_until(lambda: upstream.closed == 1)


def test_two_errors_are_both_logged_but_only_one_is_sent(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the id that the client received is in the log."""

    def failing() -> Iterator[int]:
        yield 1
        raise LookupError

    ((type, data),) = rest_of(site.read(failing(), batch=Batch(merge="".join)))
    assert type == "error"
    wait_until(lambda: len(caplog.records) == 2)
    assert caplog.text.count("was told with the id") == 1
    assert json.loads(data)["id"] in caplog.text
